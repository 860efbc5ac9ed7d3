INSERT INTO run_limit (tenant, active) SELECT id, json_extract(body, '$.running_migrations') FROM record
  WHERE tenant = 'system' AND kind = 'quota' AND json_extract(body, '$.running_migrations') IS NOT NULL;
