-- Reads a random stream by its name with all that the daemon sends of an event, for pgbench.
\set number random(0, :streams - 1)
SELECT e.* FROM streams s CROSS JOIN LATERAL (
       SELECT global_position, event_id, aggregate_id, aggregate_type, event_type, tenant_id,
              actor_id, version, timestamp, payload, created_at, payload_binary, content_type,
              correlation_id, causation_id, metadata, schema_version, tags
         FROM events
        WHERE stream_key = s.stream_key AND global_position >= s.first_position
          AND global_position <= s.last_position
        ORDER BY version) e
 WHERE s.tenant_id = '00000000-0000-0000-0000-000000000000' AND s.aggregate_type = 'Bench'
   AND s.aggregate_id = 'fill-' || (:number)::bigint::text;
