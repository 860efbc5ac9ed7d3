-- Tenants are kept apart by the database, too. A transaction names the tenant that it works for; '*' is for what a server does for all.
-- Rows that hang on a run get its tenant from the transaction that writes them.
ALTER TABLE step ADD COLUMN tenant TEXT;
ALTER TABLE event ADD COLUMN tenant TEXT;
ALTER TABLE memo ADD COLUMN tenant TEXT;
ALTER TABLE ledger ADD COLUMN tenant TEXT;
ALTER TABLE chunk ADD COLUMN tenant TEXT;
UPDATE step SET tenant = run.tenant FROM run WHERE run.id = step.run;
UPDATE event SET tenant = run.tenant FROM run WHERE run.id = event.run;
UPDATE memo SET tenant = run.tenant FROM run WHERE run.id = memo.run;
UPDATE ledger SET tenant = run.tenant FROM run WHERE run.id = ledger.run;
UPDATE chunk SET tenant = ledger.tenant FROM ledger WHERE ledger.id = chunk.ledger;
DELETE FROM event WHERE tenant IS NULL;
DELETE FROM chunk WHERE tenant IS NULL;
DO $$
DECLARE walled TEXT;
BEGIN
  FOREACH walled IN ARRAY ARRAY['step', 'event', 'memo', 'ledger', 'chunk'] LOOP
    EXECUTE format('ALTER TABLE %I ALTER COLUMN tenant SET NOT NULL, ALTER COLUMN tenant SET DEFAULT current_setting(''migration_assistant.tenant'')', walled);
  END LOOP;
  FOREACH walled IN ARRAY ARRAY['run', 'step', 'event', 'memo', 'ledger', 'chunk', 'record', 'audit', 'outbox'] LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (tenant NOT IN ('''', ''*''))', walled, walled || '_tenant');
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', walled);
    -- Sub-selects are asked once for a statement, not once for a row. Of a CASE the planner expects half of the rows, of an OR with a comparison
    -- as few as there are tenants: then it would rather sort than walk an index.
    EXECUTE format('CREATE POLICY own_tenant ON %I USING (CASE WHEN tenant = (SELECT current_setting(''migration_assistant.tenant'', true)) '
      || 'THEN true ELSE (SELECT current_setting(''migration_assistant.tenant'', true)) = ''*'' END)', walled);
  END LOOP;
END $$;
