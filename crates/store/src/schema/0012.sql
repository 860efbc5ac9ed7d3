-- Counting everything must not read everything. How long the steps took, added up as they end; by a part of the runs, so that writers of several runs
-- seldom meet. What an ended run has moved stands in its own row.
CREATE TABLE step_time (
  name TEXT NOT NULL,
  part BIGINT NOT NULL,
  count BIGINT NOT NULL,
  microseconds BIGINT NOT NULL,
  within_1 BIGINT NOT NULL,
  within_5 BIGINT NOT NULL,
  within_15 BIGINT NOT NULL,
  within_60 BIGINT NOT NULL,
  within_300 BIGINT NOT NULL,
  within_1800 BIGINT NOT NULL,
  within_7200 BIGINT NOT NULL,
  within_43200 BIGINT NOT NULL,
  PRIMARY KEY (name, part)
);
INSERT INTO step_time (name, part, count, microseconds, within_1, within_5, within_15, within_60, within_300, within_1800, within_7200, within_43200)
  SELECT name, 0, count(*), CAST(SUM(ended_at - started_at) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 1000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 5000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 15000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 60000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 300000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 1800000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 7200000000 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN ended_at - started_at <= 43200000000 THEN 1 ELSE 0 END) AS BIGINT)
  FROM step WHERE state = 'done' AND ended_at IS NOT NULL AND started_at IS NOT NULL GROUP BY name;
ALTER TABLE run ADD COLUMN bytes_moved BIGINT NOT NULL DEFAULT 0;
UPDATE run SET bytes_moved = (SELECT CAST(COALESCE(SUM(bytes_done), 0) AS BIGINT) FROM ledger WHERE ledger.run = run.id)
  WHERE state NOT IN ('running', 'rolling_back', 'paused');
CREATE INDEX run_counted ON run (state, tenant, bytes_moved);
CREATE INDEX run_showing ON run (tenant, state, created_at, id);
