-- Columns that were dropped in between.
--: production
CREATE TABLE t (a int, b int, c int, d text DEFAULT 'q'); ALTER TABLE t DROP COLUMN b; INSERT INTO t VALUES (1, 2, 'x'); ALTER TABLE t ADD e int DEFAULT 5;
--: alike
SELECT * FROM t
