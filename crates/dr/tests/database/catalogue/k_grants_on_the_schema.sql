-- Grants on the schema, and default grants.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO authenticated WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC; COMMENT ON SCHEMA public IS 'ours';
--: staging says UC
SELECT CASE WHEN has_schema_privilege('authenticated', 'public', 'USAGE') THEN 'U' END || CASE WHEN has_schema_privilege('authenticated', 'public', 'CREATE WITH GRANT OPTION') THEN 'C' END
--: staging says ours
SELECT obj_description('public'::regnamespace)
