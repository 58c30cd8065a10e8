-- Functions of one name with many arguments, named like tables and types.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE FUNCTION t(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION t(text, int[]) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE FUNCTION t(a t) RETURNS int LANGUAGE sql AS 'SELECT 3'; CREATE FUNCTION lower(x t) RETURNS int LANGUAGE sql AS 'SELECT 4';
