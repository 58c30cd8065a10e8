-- Indexes: partial, of expressions, including, descending, gin, brin, hash, with options.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE UNIQUE INDEX i1 ON t (lower(a)) WHERE b > 1; CREATE INDEX i2 ON t (b DESC NULLS LAST, a text_pattern_ops) INCLUDE (c) WITH (fillfactor = 70); CREATE INDEX i3 ON t USING brin (b); CREATE INDEX i4 ON t USING hash (a); CREATE INDEX i5 ON t ((b + 1)); ALTER INDEX i5 ALTER COLUMN 1 SET STATISTICS 9; COMMENT ON INDEX i1 IS 'i'; ALTER TABLE t CLUSTER ON i2; CREATE UNIQUE INDEX i6 ON t (c) NULLS NOT DISTINCT;
--: alike
SELECT indexdef FROM pg_indexes WHERE tablename = 't' ORDER BY 1
