-- From 17 on a server fills materialised views without the session's search path: what needs it is left empty, and that is said.
--: needs production until 16
--: needs staging from 17
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); CREATE FUNCTION n() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE MATERIALIZED VIEW m AS SELECT n() AS n;
CREATE MATERIALIZED VIEW whole AS SELECT count(*) AS n FROM t;
--: noted the materialised view public.m was left empty: PostgreSQL 17 and later
--: changed materialised view public.m
--: alike
SELECT * FROM whole
