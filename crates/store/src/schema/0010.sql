-- The node that has state which a run needs, such as its backup: only workers of that node claim the run. NULL: any worker does.
ALTER TABLE run ADD COLUMN pinned_to TEXT;
-- Which nodes have a worker, and until when that is believed.
CREATE TABLE node (
  name TEXT NOT NULL PRIMARY KEY,
  present_until BIGINT NOT NULL
);
