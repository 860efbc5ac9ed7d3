-- How many runs of a tenant may be active at once; a tenant without a row may have as many as it likes. Whoever makes a run active locks the row first.
CREATE TABLE run_limit (
  tenant TEXT NOT NULL PRIMARY KEY,
  active BIGINT NOT NULL
);
CREATE INDEX run_active ON run (tenant) WHERE state IN ('running', 'rolling_back');
