-- Columns of `regclass` and `regprocedure` name the new objects.
--: production
CREATE TABLE a_first (r regclass, f regprocedure); CREATE TABLE z_last (id int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO a_first VALUES ('z_last', 'f()');
--: staging
CREATE TABLE z_last (id int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'
--: staging says t|t
SELECT r = 'public.z_last'::regclass, f = 'public.f()'::regprocedure FROM public.a_first
