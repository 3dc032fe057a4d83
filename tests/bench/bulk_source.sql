-- What bulk_insert.sql inserts: 500 payloads of 250 bytes, as text, for JSON comes as text.
CREATE TABLE bulk_source (n INTEGER NOT NULL, payload TEXT NOT NULL);
INSERT INTO bulk_source
SELECT n, '{"data":"' || (SELECT left(string_agg(md5(random()::text || n || i), ''), 239)
                            FROM generate_series(1, 8) AS i) || '"}'
  FROM generate_series(1, 500) AS n;
ANALYZE bulk_source;
