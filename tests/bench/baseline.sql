-- The usual shape of an event table in a library: the version is unique per aggregate in the table
-- itself, with an index for each way of asking. The baseline of run.sh.
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
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    UNIQUE (aggregate_id, aggregate_type, version)
);
CREATE INDEX ON events (aggregate_id);
CREATE INDEX ON events (aggregate_type);
CREATE INDEX ON events (event_type);
CREATE INDEX ON events (timestamp);
CREATE INDEX ON events (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX ON events (aggregate_type, tenant_id, timestamp);
CREATE INDEX ON events (aggregate_id, aggregate_type, version);
