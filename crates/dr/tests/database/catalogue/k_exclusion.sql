-- An exclusion constraint, deferrable.
--: production
CREATE EXTENSION btree_gist SCHEMA extensions; CREATE TABLE r (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&) DEFERRABLE INITIALLY DEFERRED); INSERT INTO r VALUES (1, '[2026-01-01,2026-01-02)');
--: staging
CREATE EXTENSION btree_gist SCHEMA extensions;
--: alike
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'x'
