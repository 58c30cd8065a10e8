-- A trigger whose condition calls out is disabled.
--: production
CREATE SCHEMA net; CREATE FUNCTION net.ask(t text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE t; RETURN true; END $$;
CREATE TABLE t (id int, note text); INSERT INTO t VALUES (1); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW WHEN (net.ask(new.note)) EXECUTE FUNCTION f();
--: staging
CREATE SCHEMA net; CREATE FUNCTION net.ask(t text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE t; RETURN true; END $$;
--: changed trigger public.t.tell
