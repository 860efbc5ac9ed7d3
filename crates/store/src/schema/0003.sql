-- Whether a run's rollback followed its failure by itself (1) or somebody asked for it (0).
ALTER TABLE run ADD COLUMN by_itself BIGINT NOT NULL DEFAULT 0;
