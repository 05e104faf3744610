-- The ledger, version 4: what retention asks for.
-- What the run's log uses on disk, in bytes, once nothing is written to it any more and it was packed; absent until then.
ALTER TABLE run ADD COLUMN log_bytes INTEGER CHECK (log_bytes >= 0);
-- The oldest first, with all that the limits of number and bytes are about.
CREATE INDEX run_ended ON run (ended_at, id, log_bytes) WHERE ended_at IS NOT NULL;
CREATE INDEX run_unpacked ON run (id) WHERE ended_at IS NOT NULL AND log_bytes IS NULL;
-- Who refers to what is removed.
CREATE INDEX run_by_first_delivery ON run (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX delivery_by_import ON delivery (imported_at);
