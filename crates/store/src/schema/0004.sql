-- For analytics, and for thinning old progress events.
CREATE INDEX run_started ON run (tenant, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX event_progress ON event (at) WHERE kind = 'progress';
