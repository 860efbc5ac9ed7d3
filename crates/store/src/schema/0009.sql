-- A run that reads what another one goes on writing (holds), and whether that one stands still meanwhile (stance: going, still, or NULL: it cannot be held).
ALTER TABLE run ADD COLUMN holds TEXT;
ALTER TABLE run ADD COLUMN stance TEXT;
CREATE INDEX run_holders ON run (holds) WHERE holds IS NOT NULL;
-- Since when a completed run cannot be rolled back any more, and who gave up the way back.
ALTER TABLE run ADD COLUMN final_at BIGINT;
ALTER TABLE run ADD COLUMN final_by TEXT;
