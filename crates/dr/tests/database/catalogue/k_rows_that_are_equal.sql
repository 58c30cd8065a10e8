-- Rows that are equal count as many as they are.
--: production
CREATE TABLE t (a int); INSERT INTO t SELECT 1 FROM generate_series(1, 500);
