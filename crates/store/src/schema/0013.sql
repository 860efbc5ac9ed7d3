-- Ledgers whose chunks are not needed any more, and are removed a part at a time.
CREATE TABLE dropped_ledger (
  id BIGINT NOT NULL PRIMARY KEY
);
