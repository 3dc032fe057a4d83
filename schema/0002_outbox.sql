-- Events to publish. Written in the append's own transaction for events that a route matches.
CREATE TABLE IF NOT EXISTS event_outbox (
    id              UUID                     PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id        UUID                     NOT NULL,
    event_type      VARCHAR(255)             NOT NULL,
    aggregate_id    VARCHAR(255)             NOT NULL,
    aggregate_type  VARCHAR(255)             NOT NULL,
    tenant_id       UUID,
    event_data      JSONB                    NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    published_at    TIMESTAMP WITH TIME ZONE,
    retry_count     INTEGER                  NOT NULL DEFAULT 0,
    last_error      TEXT,
    status          VARCHAR(20)              NOT NULL DEFAULT 'pending',
    sink            VARCHAR(255)             NOT NULL DEFAULT '',
    global_position BIGINT                   NOT NULL DEFAULT 0,
    CONSTRAINT chk_outbox_status CHECK (status IN ('pending', 'published', 'failed'))
);

CREATE INDEX IF NOT EXISTS idx_outbox_pending ON event_outbox (created_at) WHERE status = 'pending';
