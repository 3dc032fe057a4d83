-- What the daemon is measured against: the events table of an event-sourcing library for
-- PostgreSQL, with every constraint and index that its guide has for the table. The version is
-- unique per aggregate in the table itself, and each way of asking has an index.
CREATE TABLE events (
    global_position BIGSERIAL PRIMARY KEY,
    event_id        UUID NOT NULL UNIQUE,
    aggregate_id    UUID NOT NULL,
    aggregate_type  VARCHAR(255) NOT NULL,
    event_type      VARCHAR(255) NOT NULL,
    tenant_id       UUID,
    actor_id        VARCHAR(255),
    version         INTEGER NOT NULL,
    timestamp       TIMESTAMP WITH TIME ZONE NOT NULL,
    payload         JSONB NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    CONSTRAINT uq_events_aggregate_version UNIQUE (aggregate_id, aggregate_type, version)
);
CREATE INDEX idx_events_aggregate_id ON events (aggregate_id);
CREATE INDEX idx_events_aggregate_type ON events (aggregate_type);
CREATE INDEX idx_events_event_type ON events (event_type);
CREATE INDEX idx_events_timestamp ON events (timestamp);
CREATE INDEX idx_events_tenant_id ON events (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX idx_events_type_tenant_timestamp ON events (aggregate_type, tenant_id, timestamp);
CREATE INDEX idx_events_aggregate_version ON events (aggregate_id, aggregate_type, version);

-- The same start as the daemon's store has (fill.sql): :events events in streams of ten.
INSERT INTO events
       (event_id, aggregate_id, aggregate_type, event_type, version, timestamp, payload)
SELECT gen_random_uuid(), md5(((i - 1) / 10)::text)::uuid, 'Order', 'OrderPlaced', (i - 1) % 10 + 1,
       now() - interval '1 day' + i * interval '1 millisecond', :'payload'::jsonb
  FROM generate_series(1, :events) AS i;
VACUUM ANALYZE events;
