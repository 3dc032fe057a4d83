-- One transaction of a library's append: read the version, insert one event of about 250 bytes.
\set a random(1, 1000000000)
BEGIN;
SELECT coalesce(max(version), 0) FROM events
 WHERE aggregate_id = md5((:a)::bigint::text)::uuid AND aggregate_type = 'Order';
INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, version, timestamp, payload)
VALUES (gen_random_uuid(), md5((:a)::bigint::text)::uuid, 'Order', 'OrderPlaced',
        (SELECT coalesce(max(version), 0) + 1 FROM events
          WHERE aggregate_id = md5((:a)::bigint::text)::uuid AND aggregate_type = 'Order'),
        now(), json_build_object('customer', (:a)::bigint, 'filler', repeat('x', 210))::jsonb);
COMMIT;
