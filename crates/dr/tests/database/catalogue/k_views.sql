-- Views: check options, barriers, invoker, columns with defaults, recursive.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE VIEW v1 WITH (security_barrier, security_invoker) AS SELECT * FROM t WHERE b > 1 WITH CASCADED CHECK OPTION; ALTER VIEW v1 ALTER a SET DEFAULT 'dflt'; CREATE RECURSIVE VIEW v2 (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v2 WHERE n < 5; COMMENT ON VIEW v1 IS 'v'; COMMENT ON COLUMN v1.a IS 'c'; CREATE VIEW v3 AS SELECT v1.*, 'x'::text AS unknown FROM v1;
--: alike
SELECT * FROM v2;
SELECT reloptions FROM pg_class WHERE relname = 'v1'
