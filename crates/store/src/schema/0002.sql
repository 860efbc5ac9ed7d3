-- The control plane's records, its audit log, and the events that nobody has been told of yet.
CREATE TABLE record (
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1,
  -- Unique within tenant and kind where it is given.
  key TEXT,
  parent TEXT,
  state TEXT,
  due_at BIGINT,
  body TEXT NOT NULL,
  -- Sealed.
  secret {blob},
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, id)
);
CREATE UNIQUE INDEX record_key ON record (tenant, kind, key) WHERE key IS NOT NULL;
CREATE INDEX record_parent ON record (tenant, kind, parent, id) WHERE parent IS NOT NULL;
CREATE INDEX record_due ON record (kind, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE audit (
  id {identity},
  at BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  actor TEXT NOT NULL,
  proof TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  source TEXT NOT NULL,
  request_id TEXT NOT NULL,
  result TEXT NOT NULL,
  details TEXT NOT NULL
);
CREATE INDEX audit_listing ON audit (tenant, id);

CREATE TABLE outbox (
  id {identity},
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  seq BIGINT NOT NULL,
  kind TEXT NOT NULL
);
