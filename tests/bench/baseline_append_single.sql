-- As baseline_append.sql, in one statement and one round trip: the version is not told to the
-- client before it decides. For who wants to know how much of the difference is round trips.
\set existing random(0, :streams / :clients - 1) * :clients + :client_id
\set fresh random(1000000000, 1000000000000000)
\set number case when random(1, 100) <= :new_percent then :fresh else :existing end
INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, version, timestamp, payload)
SELECT gen_random_uuid(), md5((:number)::bigint::text)::uuid, 'Order', 'OrderPlaced',
       coalesce(max(version), 0) + 1, now(), (:payload)::jsonb
  FROM events WHERE aggregate_id = md5((:number)::bigint::text)::uuid AND aggregate_type = 'Order';
