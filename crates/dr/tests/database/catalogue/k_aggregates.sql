-- Aggregates of one's own, ordered ones too.
--: production
CREATE TABLE t (v int); INSERT INTO t VALUES (2), (3); CREATE AGGREGATE mul(int) (sfunc = int4mul, stype = int, initcond = '1', parallel = safe); CREATE FUNCTION s(anyarray, anyelement) RETURNS anyarray LANGUAGE sql AS 'SELECT array_append($1, $2)'; CREATE AGGREGATE coll(anyelement) (sfunc = s, stype = anyarray, initcond = '{}'); COMMENT ON AGGREGATE mul(int) IS 'm';
--: alike
SELECT mul(v) FROM t
