-- Grants on tables, columns, sequences, functions, types, with options, and what was revoked from everybody.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE SEQUENCE s; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE y AS ENUM ('a'); GRANT SELECT ON t TO anon; GRANT UPDATE (a, b), SELECT (c) ON t TO authenticated WITH GRANT OPTION; GRANT USAGE ON SEQUENCE s TO anon; REVOKE ALL ON FUNCTION f() FROM PUBLIC; REVOKE ALL ON FUNCTION f() FROM anon, authenticated, service_role; GRANT EXECUTE ON FUNCTION f() TO service_role; REVOKE USAGE ON TYPE y FROM PUBLIC; REVOKE ALL ON t FROM service_role; REVOKE DELETE ON t FROM postgres;
--: alike on one version
SELECT relacl FROM pg_class WHERE relname IN ('t', 's') ORDER BY relname
--: alike
SELECT proacl FROM pg_proc WHERE proname = 'f';
SELECT typacl FROM pg_type WHERE typname = 'y';
SELECT attname, attacl FROM pg_attribute WHERE attrelid = 't'::regclass AND attacl IS NOT NULL ORDER BY 1
