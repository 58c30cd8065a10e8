-- A domain whose check does not hold for old rows.
--: production
CREATE DOMAIN d AS int; CREATE TABLE t (a d); INSERT INTO t VALUES (-1); ALTER DOMAIN d ADD CONSTRAINT pos CHECK (VALUE > 0) NOT VALID;
--: alike
SELECT * FROM t;
SELECT convalidated FROM pg_constraint WHERE conname = 'pos'
