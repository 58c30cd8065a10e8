-- A view over a view that needs a key, and a function that returns its rows.
--: production
CREATE TABLE shop (id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a');
CREATE VIEW by_shop AS SELECT id, name, count(*) AS n FROM shop GROUP BY id;
CREATE VIEW over AS SELECT name, n FROM by_shop;
CREATE FUNCTION rows_of() RETURNS SETOF by_shop LANGUAGE sql STABLE AS 'SELECT * FROM by_shop';
--: alike
SELECT * FROM over;
SELECT * FROM rows_of()
