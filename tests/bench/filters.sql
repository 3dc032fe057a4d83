-- Fills an empty store with :events events (a multiple of 100,000) of which each field of a filter
-- can find one in 100,000, as if the daemon had appended them: ten to a stream. No daemon may serve
-- the store meanwhile. What is rare lies at the positions 50,001, 150,001 and so on:
--   the types RareHappened and seldom.1 to seldom.4 (in turns), aggregate type Rare, aggregate id
--   rare-..., the tag rare, and the tenant 00000000-0000-0000-0000-00000000000b.
-- What is common: 20 event types common.0 to common.19, aggregate types Type0 to Type9, the tag
-- often at every tenth event, and the tenant ...0a at every other stream.
-- The indexes of the partition are dropped for the filling and made again after it.
SET synchronous_commit = off;
SET maintenance_work_mem = '1GB';
BEGIN;
CREATE TEMPORARY TABLE indexes ON COMMIT DROP AS
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index WHERE indrelid = 'events_p1'::regclass AND NOT indisprimary;
SELECT 'DROP INDEX ' || name FROM indexes
\gexec
CREATE TEMPORARY TABLE filled ON COMMIT DROP AS
SELECT i AS position, (i - 1) / 10 + 1 AS stream_key, (i - 1) % 10 + 1 AS version,
       i % 100000 BETWEEN 50001 AND 50010 AS rare_stream, i % 100000 = 50001 AS rare,
       date_trunc('second', now()) - interval '10 days' + i * interval '10 milliseconds'
         AS created_at
  FROM generate_series(1, (:events)::bigint) AS i;
CREATE TEMPORARY TABLE named ON COMMIT DROP AS
SELECT *,
       CASE WHEN rare_stream THEN 'rare-' ELSE 'id-' END
         || lpad((stream_key * 7919 % 1000000)::text, 6, '0') || '-' || stream_key AS aggregate_id,
       CASE WHEN rare_stream THEN 'Rare' ELSE 'Type' || stream_key % 10 END AS aggregate_type,
       CASE WHEN rare_stream THEN '00000000-0000-0000-0000-00000000000b'::uuid
            WHEN stream_key % 2 = 0 THEN '00000000-0000-0000-0000-00000000000a'::uuid END AS tenant,
       CASE WHEN rare THEN CASE WHEN position / 100000 % 2 = 0 THEN 'RareHappened'
                                ELSE 'seldom.' || position / 200000 % 4 + 1 END
            ELSE 'common.' || position % 20 END AS event_type,
       CASE WHEN rare THEN ARRAY['rare', 'some'] WHEN position % 10 = 0 THEN ARRAY['often'] END
         AS tags
  FROM filled;
INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type, event_type,
                    tenant_id, version, timestamp, payload, created_at, tags, size_bytes)
SELECT position, ('00000000-0000-7000-8000-' || lpad(to_hex(position), 12, '0'))::uuid, stream_key,
       aggregate_id, aggregate_type, event_type, tenant, version, created_at,
       jsonb_build_object('n', position, 'data', repeat(md5(position::text), 6)), created_at, tags,
       350
  FROM named ORDER BY position;
INSERT INTO event_ids (event_id, global_position, stream_key, version, created_at)
SELECT event_id, global_position, stream_key, version, created_at FROM events;
INSERT INTO event_tags (tag, global_position)
SELECT unnest(tags), position FROM named WHERE tags IS NOT NULL ORDER BY 1, 2;
INSERT INTO streams (stream_key, tenant_id, aggregate_type, aggregate_id, version, first_position,
                     last_position, created_at, updated_at)
SELECT stream_key, coalesce(tenant, '00000000-0000-0000-0000-000000000000'), aggregate_type,
       aggregate_id, 10, position, position + 9, created_at,
       created_at + interval '90 milliseconds'
  FROM named WHERE version = 1;
SELECT setval(pg_get_serial_sequence('streams', 'stream_key'), max(stream_key)) FROM streams;
SELECT definition FROM indexes
\gexec
UPDATE log_head SET last_position = :events,
                    last_created_at = (SELECT max(created_at) FROM filled);
COMMIT;
VACUUM ANALYZE events, event_ids, event_tags, streams;
