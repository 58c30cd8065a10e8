-- Ranges of one's own, with a multirange.
--: production
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans); CREATE TABLE t (a span, b spans); INSERT INTO t VALUES ('[1.5,2)', '{[1,2),[3,4)}');
--: alike
SELECT * FROM t
