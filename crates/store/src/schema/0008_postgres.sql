INSERT INTO run_limit (tenant, active) SELECT id, (body::json ->> 'running_migrations')::bigint FROM record
  WHERE tenant = 'system' AND kind = 'quota' AND body::json ->> 'running_migrations' IS NOT NULL;
ALTER TABLE run_limit ADD CONSTRAINT run_limit_tenant CHECK (tenant NOT IN ('', '*'));
ALTER TABLE run_limit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON run_limit USING (CASE WHEN tenant = (SELECT current_setting('migration_assistant.tenant', true))
  THEN true ELSE (SELECT current_setting('migration_assistant.tenant', true)) = '*' END);
