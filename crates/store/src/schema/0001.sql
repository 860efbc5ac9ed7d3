-- Runs and what the engine remembers of them. Times are microseconds since 1970 by the database's clock; JSON is text.
-- {blob} and {identity} stand for the two databases' words.
CREATE TABLE run (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  -- What users want of a run that a worker holds: pause or cancel.
  wanted TEXT,
  labels TEXT NOT NULL,
  -- Sealed.
  input {blob} NOT NULL,
  options TEXT NOT NULL,
  owner TEXT,
  epoch BIGINT NOT NULL DEFAULT 0,
  lease_until BIGINT,
  start_at BIGINT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  error TEXT,
  sample TEXT,
  last_event BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX run_listing ON run (tenant, created_at, id);
CREATE INDEX run_claim ON run (created_at, id) WHERE state IN ('running', 'rolling_back', 'scheduled');

CREATE TABLE step (
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  idx BIGINT NOT NULL,
  name TEXT NOT NULL,
  title TEXT NOT NULL,
  version BIGINT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  attempts BIGINT NOT NULL DEFAULT 0,
  output TEXT,
  error TEXT,
  started_at BIGINT,
  ended_at BIGINT,
  PRIMARY KEY (run, idx)
);

CREATE TABLE event (
  run TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  kind TEXT NOT NULL,
  -- 0 debug, 1 info, 2 warning, 3 error.
  level BIGINT NOT NULL,
  component TEXT NOT NULL,
  message TEXT NOT NULL,
  details TEXT NOT NULL,
  PRIMARY KEY (run, seq)
);

CREATE TABLE memo (
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  -- Empty for the run, else the name of a ledger.
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  -- Sealed.
  value {blob} NOT NULL,
  PRIMARY KEY (run, scope, key)
);

-- Totals are kept with every change of a chunk, never counted.
CREATE TABLE ledger (
  id {identity},
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  chunks BIGINT NOT NULL DEFAULT 0,
  chunks_done BIGINT NOT NULL DEFAULT 0,
  items BIGINT NOT NULL DEFAULT 0,
  items_done BIGINT NOT NULL DEFAULT 0,
  bytes BIGINT NOT NULL DEFAULT 0,
  bytes_done BIGINT NOT NULL DEFAULT 0,
  sealed BIGINT NOT NULL DEFAULT 0,
  UNIQUE (run, name)
);

CREATE TABLE chunk (
  ledger BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  spec {blob} NOT NULL,
  items BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  -- Null until the chunk is done.
  result {blob},
  PRIMARY KEY (ledger, seq)
);
