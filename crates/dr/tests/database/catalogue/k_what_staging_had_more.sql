-- What only staging had is not there any more, and is put aside.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);
--: staging
CREATE TABLE more (id int); CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE more_t AS ENUM ('a')
--: staging says f|f
SELECT to_regclass('public.more') IS NOT NULL, to_regproc('public.more') IS NOT NULL
