-- Functions of all kinds: defaults, variadic, out, table, set, window, leakproof, cost, settings, security.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION a(x int, y text DEFAULT 'q', VARIADIC z int[] DEFAULT '{}') RETURNS int LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 7 SECURITY DEFINER SET search_path = public, pg_temp SET work_mem = '8MB' AS 'SELECT 1'; CREATE FUNCTION b(OUT p int, INOUT q text) LANGUAGE plpgsql AS $$ BEGIN p := 1; END $$; CREATE FUNCTION d() RETURNS TABLE (m int, n text) LANGUAGE sql ROWS 5 AS $$ SELECT 1, 'a' $$; CREATE PROCEDURE e(INOUT x int) LANGUAGE plpgsql AS $$ BEGIN x := 2; COMMIT; END $$; CREATE FUNCTION a(x text) RETURNS text LANGUAGE sql AS 'SELECT $1'; COMMENT ON FUNCTION a(text) IS 'c'; COMMENT ON PROCEDURE e(int) IS 'p';
--: alike
SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2
