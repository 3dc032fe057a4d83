-- 500 rows a transaction into tables of the daemon's shape, for pgbench with one client: what the
-- server can take without a daemon, without look-ups, and all streams new. Five streams of 100.
BEGIN;
UPDATE log_head SET last_position = last_position + 500, last_created_at = clock_timestamp()
RETURNING last_position - 500 AS base \gset
INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version, first_position,
                     last_position, created_at, updated_at)
SELECT (:base)::bigint + i, 'Bench', 'bulk-' || ((:base)::bigint + i)::text, 100,
       (:base)::bigint + i * 100 + 1, (:base)::bigint + i * 100 + 100, now(), now()
  FROM generate_series(0, 4) AS i;
INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type, event_type,
                    version, timestamp, payload, created_at, size_bytes)
SELECT (:base)::bigint + n,
       ('00000000-0000-7000-8000-' || lpad(to_hex((:base)::bigint + n), 12, '0'))::uuid,
       (:base)::bigint + (n - 1) / 100, 'bulk-' || ((:base)::bigint + (n - 1) / 100)::text, 'Bench',
       'BenchEvent', (n - 1) % 100 + 1, now(), payload::jsonb, now(), 300
  FROM bulk_source;
INSERT INTO event_ids (event_id, global_position, stream_key, version, created_at)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex((:base)::bigint + n), 12, '0'))::uuid,
       (:base)::bigint + n, (:base)::bigint + (n - 1) / 100, (n - 1) % 100 + 1, now()
  FROM bulk_source;
COMMIT;
