-- A cast of one's own.
--: production
CREATE TYPE c AS (v int); CREATE FUNCTION to_c(int) RETURNS c LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1)::public.c'; CREATE CAST (int AS c) WITH FUNCTION to_c(int) AS ASSIGNMENT; CREATE TABLE t (a c); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT 5::c AS x;
--: alike
SELECT castcontext, castfunc::regproc FROM pg_cast WHERE casttarget = 'c'::regtype;
SELECT * FROM v
