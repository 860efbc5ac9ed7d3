-- What lists show of a run's steps, kept with every change of a step: how many there are, how many are done, and the name of the first that
-- has begun.
ALTER TABLE run ADD COLUMN steps BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN steps_done BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN at_work TEXT;
UPDATE run SET
  steps = (SELECT count(*) FROM step WHERE step.run = run.id),
  steps_done = (SELECT count(*) FROM step WHERE step.run = run.id AND step.state = 'done'),
  at_work = (SELECT step.name FROM step WHERE step.run = run.id AND step.state = 'begun' ORDER BY step.idx LIMIT 1);
