-- An operator class and family of one's own under an index.
--: production
CREATE FUNCTION rev(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp(b, a)'; CREATE OPERATOR CLASS back FOR TYPE int USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 rev(int, int); CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2), (3); CREATE INDEX tb ON t (a back);
--: alike
SELECT indexdef FROM pg_indexes WHERE tablename = 't'
