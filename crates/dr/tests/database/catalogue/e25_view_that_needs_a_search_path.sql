-- A materialised view whose function names a table without its schema.
--: needs staging until 16
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); CREATE FUNCTION n() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE MATERIALIZED VIEW m AS SELECT n() AS n;
--: alike
SELECT * FROM m
