-- Several rows that look like the end of the data.
--: production
CREATE TABLE t (a text); INSERT INTO t VALUES (E'\\.'), (''), (E'\\N'), (NULL), (E'a\r\nb'), (E'\t');
--: alike
SELECT a, a IS NULL FROM t ORDER BY md5(a)
