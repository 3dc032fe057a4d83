-- States that are not JSON, and the size of each.
ALTER TABLE snapshots ALTER COLUMN state DROP NOT NULL;
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS state_binary BYTEA;
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS content_type VARCHAR(255);
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS size_bytes BIGINT NOT NULL DEFAULT 0;
