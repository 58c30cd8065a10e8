-- An extension that nothing uses is no reason to refuse; it is named.
--: production
CREATE EXTENSION tablefunc SCHEMA extensions; CREATE TABLE t (id int); INSERT INTO t VALUES (1);
--: not compared extensions of production that staging does not have: tablefunc
