-- One append of a library, for pgbench: read the stream's version, insert the next event. A client
-- has streams of its own, so that no transaction ever fails for another's: the best case.
\set existing random(0, :streams / :clients - 1) * :clients + :client_id
\set fresh random(1000000000, 1000000000000000)
\set number case when random(1, 100) <= :new_percent then :fresh else :existing end
BEGIN;
SELECT coalesce(max(version), 0) + 1 AS version FROM events
 WHERE aggregate_id = md5((:number)::bigint::text)::uuid AND aggregate_type = 'Order' \gset
INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, version, timestamp, payload)
VALUES (gen_random_uuid(), md5((:number)::bigint::text)::uuid, 'Order', 'OrderPlaced', :version,
        now(), :payload);
COMMIT;
