-- A materialised view over a function that returns the rows of a view that needs a key.
--: needs staging until 16
--: production
CREATE TABLE shop (id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a');
CREATE VIEW by_shop AS SELECT id, name, count(*) AS n FROM shop GROUP BY id;
CREATE FUNCTION rows_of() RETURNS SETOF by_shop LANGUAGE sql STABLE AS 'SELECT * FROM by_shop';
CREATE MATERIALIZED VIEW kept AS SELECT * FROM rows_of();
--: alike
SELECT * FROM kept
