-- Views that need each other: one is made again after the other.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE VIEW v1 AS SELECT id FROM t; CREATE FUNCTION f() RETURNS SETOF v1 LANGUAGE sql STABLE AS 'SELECT id FROM t'; CREATE VIEW v2 AS SELECT * FROM f();
--: alike
SELECT * FROM v2
