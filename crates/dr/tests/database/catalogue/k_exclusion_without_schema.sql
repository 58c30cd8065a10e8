-- The same, where the extension is looked for in the search path.
--: production
CREATE EXTENSION btree_gist SCHEMA public; CREATE TABLE r (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&)); INSERT INTO r VALUES (1, '[2026-01-01,2026-01-02)');
--: staging
CREATE EXTENSION btree_gist SCHEMA public;
