-- States that are not JSON, and how large each is.
ALTER TABLE snapshots ALTER COLUMN state DROP NOT NULL;
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS state_binary BYTEA;
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS content_type VARCHAR(255);
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS size_bytes   BIGINT NOT NULL DEFAULT 0;

-- Listing a type page by page, whatever the tenant.
CREATE INDEX IF NOT EXISTS idx_snapshots_type
    ON snapshots (aggregate_type, tenant_id, aggregate_id, version);
-- Deleting what has an old schema.
CREATE INDEX IF NOT EXISTS idx_snapshots_schema ON snapshots (aggregate_type, schema_version);
