-- A foreign server of staging that leads where production's does.
--: production
CREATE EXTENSION postgres_fdw SCHEMA extensions; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'prod.example'); CREATE FOREIGN TABLE f (id int) SERVER far; CREATE TABLE t (id int);
--: staging
CREATE EXTENSION postgres_fdw SCHEMA extensions; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'prod.example');
--: refused has production's own options
