-- Extended statistics and targets.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE STATISTICS st (dependencies, ndistinct) ON a, b FROM t; ALTER STATISTICS st SET STATISTICS 50; ALTER TABLE t ALTER a SET STATISTICS 77, ALTER b SET (n_distinct = 5);
--: alike on one version
SELECT attname, attstattarget, attoptions FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0
