-- What a checkpoint's lag is counted over; NULL: every event.
ALTER TABLE projection_checkpoints ADD COLUMN IF NOT EXISTS filter JSONB;

-- Where a dead letter's event is, so that a retry keeps the order of its stream, and why it was
-- closed.
ALTER TABLE dead_letter_queue ADD COLUMN IF NOT EXISTS global_position BIGINT NOT NULL DEFAULT 0;
ALTER TABLE dead_letter_queue ADD COLUMN IF NOT EXISTS stream_key      BIGINT NOT NULL DEFAULT 0;
ALTER TABLE dead_letter_queue ADD COLUMN IF NOT EXISTS resolution_note TEXT;

-- Listing the entries of a projection page by page.
CREATE INDEX IF NOT EXISTS idx_dlq_projection ON dead_letter_queue (projection_name, id);
-- What a reader polls for: its own entries that are to be processed again, in order.
CREATE INDEX IF NOT EXISTS idx_dlq_retrying
    ON dead_letter_queue (projection_name, global_position) WHERE status = 'retrying';
-- Purging what was resolved long ago.
CREATE INDEX IF NOT EXISTS idx_dlq_resolved
    ON dead_letter_queue (resolved_at, id) WHERE status = 'resolved';
CREATE INDEX IF NOT EXISTS idx_dlq_resolved_projection
    ON dead_letter_queue (projection_name, resolved_at, id) WHERE status = 'resolved';
