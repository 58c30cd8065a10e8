-- A view that groups by a primary key.
--: production
CREATE TABLE shop (id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a');
CREATE VIEW by_shop AS SELECT id, name, count(*) FROM shop GROUP BY id;
--: alike
SELECT * FROM by_shop
--: alike on one version
SELECT pg_get_viewdef('by_shop'::regclass)
