-- A view that only staging has is made anew and named.
--: production
CREATE TABLE t (id int, w text); INSERT INTO t VALUES (1, 'new');
--: staging
CREATE SCHEMA own; CREATE TABLE t (id int, w text); CREATE VIEW own.v AS SELECT w FROM public.t;
--: changed view own.v
--: staging says new
SELECT w FROM own.v
