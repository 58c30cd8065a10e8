-- A materialised view that groups by a primary key is made after the key, and filled.
--: production
CREATE TABLE shop (id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a'), (2, 'b');
CREATE TABLE sale (id int PRIMARY KEY, shop int REFERENCES shop, amount int); INSERT INTO sale VALUES (1, 1, 10), (2, 1, 20), (3, 2, 5);
CREATE MATERIALIZED VIEW totals AS SELECT s.id, s.name, sum(a.amount) AS total FROM shop s JOIN sale a ON a.shop = s.id GROUP BY s.id;
CREATE UNIQUE INDEX ON totals (id);
--: alike
SELECT * FROM totals ORDER BY 1;
SELECT indexdef FROM pg_indexes WHERE tablename = 'totals'
