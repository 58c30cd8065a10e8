-- A rule that calls out is disabled.
--: production
CREATE SCHEMA net; CREATE FUNCTION net.ask(t int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'x'; RETURN true; END $$;
CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE RULE r AS ON INSERT TO t DO ALSO SELECT net.ask(new.id); CREATE RULE quiet AS ON DELETE TO t DO INSTEAD NOTHING;
--: staging
CREATE SCHEMA net; CREATE FUNCTION net.ask(t int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'x'; RETURN true; END $$;
--: changed rule public.t.r
--: staging says quiet O / r D
SELECT rulename || ' ' || ev_enabled::text FROM pg_rewrite WHERE ev_class = 'public.t'::regclass ORDER BY 1
