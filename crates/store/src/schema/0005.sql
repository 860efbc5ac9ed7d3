-- Requests counted for all servers together. A lost one fills up again: nothing here has to outlive a crash.
CREATE TABLE bucket (
  key TEXT NOT NULL PRIMARY KEY,
  arrival BIGINT NOT NULL,
  granted BIGINT NOT NULL
);
