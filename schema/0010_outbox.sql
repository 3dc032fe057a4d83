-- The outbox as the relay and workers use it.
ALTER TABLE event_outbox ADD COLUMN IF NOT EXISTS stream_key      BIGINT NOT NULL DEFAULT 0;
ALTER TABLE event_outbox ADD COLUMN IF NOT EXISTS next_attempt_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE event_outbox ADD COLUMN IF NOT EXISTS claim_token     UUID;
ALTER TABLE event_outbox ADD COLUMN IF NOT EXISTS claimed_by      TEXT;
ALTER TABLE event_outbox ADD COLUMN IF NOT EXISTS claimed_until   TIMESTAMP WITH TIME ZONE;
ALTER TABLE event_outbox DROP CONSTRAINT IF EXISTS chk_outbox_status;
ALTER TABLE event_outbox ADD CONSTRAINT chk_outbox_status
    CHECK (status IN ('pending', 'claimed', 'published', 'failed'));

-- What is to be published, in order.
CREATE INDEX IF NOT EXISTS idx_outbox_sink ON event_outbox (sink, global_position)
    WHERE status = 'pending';
-- What stands before a row in its stream.
CREATE INDEX IF NOT EXISTS idx_outbox_stream ON event_outbox (sink, stream_key, global_position)
    WHERE status <> 'published';
-- Claims, by whom holds them and by when they end.
CREATE INDEX IF NOT EXISTS idx_outbox_claim ON event_outbox (claim_token) WHERE status = 'claimed';
CREATE INDEX IF NOT EXISTS idx_outbox_claimed ON event_outbox (sink, claimed_until)
    WHERE status = 'claimed';
-- Lists, in the order of the positions.
CREATE INDEX IF NOT EXISTS idx_outbox_open ON event_outbox (global_position, id)
    WHERE status <> 'published';
CREATE INDEX IF NOT EXISTS idx_outbox_done ON event_outbox (global_position, id)
    WHERE status = 'published';
-- What the retention deletes.
CREATE INDEX IF NOT EXISTS idx_outbox_published ON event_outbox (published_at)
    WHERE status = 'published';

-- The sinks and who publishes to them.
CREATE TABLE IF NOT EXISTS outbox_sinks (
    sink        VARCHAR(255) COLLATE "C" PRIMARY KEY,
    daemon      UUID,
    token       BIGINT                   NOT NULL DEFAULT 0,
    lease_until TIMESTAMP WITH TIME ZONE,
    state       VARCHAR(20)              NOT NULL DEFAULT 'idle',
    last_error  TEXT,
    paused      BOOLEAN                  NOT NULL DEFAULT false,
    updated_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
