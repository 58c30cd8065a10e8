-- Collations of one's own, of a column and of an index.
--: needs icu
--: production
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk', deterministic = false); CREATE TABLE t (a text COLLATE german, b text COLLATE "C"); INSERT INTO t VALUES ('ä', 'b'); CREATE INDEX ON t (b COLLATE german);
--: alike
SELECT a FROM t ORDER BY a
