-- A materialised view that was older than its tables is named.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t; INSERT INTO t VALUES (3);
--: not compared the rows of the materialised view public.m
