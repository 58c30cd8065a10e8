-- A foreign table is defined and named; a view over it stays empty, and nothing is asked of the server.
--: production
CREATE EXTENSION postgres_fdw SCHEMA extensions; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'prod.example'); CREATE FOREIGN TABLE f (id int OPTIONS (column_name 'x')) SERVER far OPTIONS (table_name 'y'); CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT * FROM f; CREATE MATERIALIZED VIEW m AS SELECT * FROM v WITH NO DATA;
--: staging
CREATE EXTENSION postgres_fdw SCHEMA extensions; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'staging.example');
--: noted the foreign table public.f reaches the server far
--: alike
SELECT ftoptions FROM pg_foreign_table
