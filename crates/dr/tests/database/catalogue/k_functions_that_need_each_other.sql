-- Functions bound to views that call functions.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE FUNCTION f1() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM t); CREATE VIEW v1 AS SELECT f1() AS n; CREATE FUNCTION f2() RETURNS SETOF v1 LANGUAGE sql BEGIN ATOMIC SELECT * FROM v1; END; CREATE VIEW v2 AS SELECT * FROM f2();
--: alike
SELECT * FROM v2
