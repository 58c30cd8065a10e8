-- A view of another schema that the new tables do not bear is named.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1);
--: staging
CREATE SCHEMA own; CREATE TABLE t (id int, gone text); CREATE VIEW own.v AS SELECT gone FROM public.t;
--: noted view own.v goes on pointing at what was put aside
