-- A policy of another schema calls the new function.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION is_admin() RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE POLICY admins ON auth.users USING (public.is_admin());
--: staging
CREATE FUNCTION is_admin() RETURNS boolean LANGUAGE sql AS 'SELECT false'; CREATE POLICY admins ON auth.users USING (public.is_admin());
--: alike
SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
