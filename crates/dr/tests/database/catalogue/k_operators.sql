-- Operators with negators, commutators and their class, used by an index.
--: production
CREATE FUNCTION eq(a point, b point) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a ~= b'; CREATE OPERATOR === (leftarg = point, rightarg = point, procedure = eq, commutator = ===); CREATE TABLE t (p point, CHECK (p === p)); INSERT INTO t VALUES ('(1,2)');
--: alike
SELECT p === p FROM t
