-- A filled materialised view over a foreign table stays empty on staging.
--: production
CREATE EXTENSION file_fdw SCHEMA extensions; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE f (w text) SERVER files OPTIONS (filename '/etc/hostname'); CREATE MATERIALIZED VIEW m AS SELECT * FROM f; CREATE TABLE t (id int); INSERT INTO t VALUES (1);
--: staging
CREATE EXTENSION file_fdw SCHEMA extensions; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
--: refused has production's own options
