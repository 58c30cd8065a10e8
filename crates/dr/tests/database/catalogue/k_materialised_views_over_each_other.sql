-- Materialised views over each other, one of them never filled.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE MATERIALIZED VIEW m1 AS SELECT id, b FROM t; CREATE MATERIALIZED VIEW m2 AS SELECT sum(b) AS s FROM m1; CREATE MATERIALIZED VIEW m3 AS SELECT * FROM m1 WITH NO DATA; CREATE UNIQUE INDEX ON m1 (id);
--: alike
SELECT * FROM m1 ORDER BY 1;
SELECT * FROM m2;
SELECT relispopulated FROM pg_class WHERE relname = 'm3'
