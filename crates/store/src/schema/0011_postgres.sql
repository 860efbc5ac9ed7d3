ALTER TABLE set_aside ADD CONSTRAINT set_aside_tenant CHECK (tenant NOT IN ('', '*'));
ALTER TABLE set_aside ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON set_aside USING (CASE WHEN tenant = (SELECT current_setting('migration_assistant.tenant', true))
  THEN true ELSE (SELECT current_setting('migration_assistant.tenant', true)) = '*' END);
-- Writers say which schema they know: a program of before an upgrade is refused, however long it goes on running.
CREATE FUNCTION migration_assistant_schema(known BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT version FROM schema_version) <> known THEN
    RAISE EXCEPTION 'the database has another schema than this program' USING ERRCODE = '55000';
  END IF;
END $$;
