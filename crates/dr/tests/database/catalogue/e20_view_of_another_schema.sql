-- A view of another schema shows the new rows.
--: production
CREATE SCHEMA api; CREATE TABLE t (id int, w text); INSERT INTO t VALUES (1, 'new'); CREATE VIEW api.t AS SELECT * FROM public.t;
--: staging
CREATE SCHEMA api; CREATE TABLE t (id int, w text); INSERT INTO t VALUES (1, 'old'); CREATE VIEW api.t AS SELECT * FROM public.t;
--: alike
SELECT * FROM api.t
