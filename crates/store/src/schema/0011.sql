-- What a node could not read and passes over, so that it holds nothing else up; it is tried again after a while. Empty node: no node has a name here.
CREATE TABLE set_aside (
  kind TEXT NOT NULL,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  node TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (kind, id, tenant, node)
);
