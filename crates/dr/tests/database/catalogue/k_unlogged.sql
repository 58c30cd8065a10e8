-- An unlogged table with rows.
--: production
CREATE UNLOGGED TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
