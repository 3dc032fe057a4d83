-- What a condition or filter by type and tag asks, without a look at the event itself, and where it
-- is seldom changed without one at the row either. Rows that were written before have no type.
ALTER TABLE event_tags ADD COLUMN IF NOT EXISTS event_type VARCHAR(255);
ALTER TABLE event_tags DROP CONSTRAINT IF EXISTS event_tags_pkey;
ALTER TABLE event_tags ADD CONSTRAINT event_tags_pkey
    PRIMARY KEY (tag, global_position) INCLUDE (event_type);
