-- Composite types, nested and in arrays.
--: production
CREATE TYPE a AS (x int, y text); CREATE TYPE b AS (p a, q a[]); COMMENT ON COLUMN a.x IS 'c'; CREATE TABLE t (v b); INSERT INTO t VALUES (ROW(ROW(1, 'a,"b'), ARRAY[ROW(2, 'c')::a])::b);
--: alike
SELECT * FROM t
