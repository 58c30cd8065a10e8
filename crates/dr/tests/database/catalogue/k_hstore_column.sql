-- Columns and indexes of an extension's types.
--: production
CREATE EXTENSION hstore SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions; CREATE TABLE t (h extensions.hstore, w text); INSERT INTO t VALUES ('a=>1', 'word'); CREATE INDEX ON t USING gin (h); CREATE INDEX ON t USING gin (w extensions.gin_trgm_ops);
--: staging
CREATE EXTENSION hstore SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions;
