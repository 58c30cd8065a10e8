-- A function of a table's row, used as a column.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE FUNCTION twice(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.b * 2'; CREATE VIEW v AS SELECT t.twice FROM t;
--: alike
SELECT * FROM v
