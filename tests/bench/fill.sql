-- Fills an empty store with :events events as if the daemon had appended them: ten to a stream, one
-- stream after the other, and each with one of :tags tags (none if that is 0). No daemon may serve the
-- store meanwhile. The streams are named fill-0 to fill-(N-1), but not in the order of their events: the
-- first 20,000 names lie all over the store.
BEGIN;
CREATE TEMPORARY TABLE payloads ON COMMIT DROP AS
SELECT n, ('{"data":"' || (SELECT left(string_agg(md5(random()::text || n || i), ''), 239)
                             FROM generate_series(1, 8) AS i) || '"}')::jsonb AS payload
  FROM generate_series(0, 255) AS n;
-- 7919 is a prime that divides no number of streams in use, so every name comes once.
CREATE TEMPORARY TABLE filled ON COMMIT DROP AS
SELECT i AS position, (i - 1) / 10 + 1 AS stream_key,
       'fill-' || ((i - 1) / 10 * 7919) % ((:events)::bigint / 10) AS aggregate_id,
       (i - 1) % 10 + 1 AS version,
       ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS event_id,
       date_trunc('second', now()) - interval '1 day' + i * interval '1 millisecond' AS created_at
  FROM generate_series(1, (:events)::bigint) AS i;
INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type, event_type,
                    version, timestamp, payload, created_at, size_bytes, tags)
SELECT position, event_id, stream_key, aggregate_id, 'Bench', 'BenchEvent', version, created_at,
       payload, created_at, 300,
       CASE WHEN :tags > 0 THEN ARRAY['tag-' || position % greatest(:tags, 1)] END
  FROM filled JOIN payloads ON n = position % 256 ORDER BY position;
INSERT INTO event_tags (tag, global_position, event_type)
SELECT 'tag-' || position % greatest(:tags, 1), position, 'BenchEvent' FROM filled WHERE :tags > 0
 ORDER BY position;
INSERT INTO event_ids (event_id, global_position, stream_key, version, created_at)
SELECT event_id, position, stream_key, version, created_at FROM filled ORDER BY position;
INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version, first_position,
                     last_position, created_at, updated_at)
SELECT stream_key, 'Bench', aggregate_id, 10, position, position + 9, created_at,
       created_at + interval '9 milliseconds'
  FROM filled WHERE version = 1 ORDER BY position;
SELECT setval(pg_get_serial_sequence('streams', 'stream_key'), max(stream_key)) FROM streams;
UPDATE log_head SET last_position = :events,
                    last_created_at = (SELECT max(created_at) FROM filled);
COMMIT;
VACUUM ANALYZE;
