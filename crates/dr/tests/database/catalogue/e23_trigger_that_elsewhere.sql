-- A trigger that writes to a table of another schema is disabled.
--: production
CREATE SCHEMA "Reach"; CREATE FUNCTION "Reach"."Out"(x text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM dblink_exec(x, 'x'); RETURN x; END $$;
CREATE SCHEMA queue; CREATE TABLE queue.jobs (n int);
CREATE FUNCTION inner_one() RETURNS void LANGUAGE sql AS $$ SELECT "Reach"."Out"('x') $$; CREATE FUNCTION outer_one() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM inner_one(); END $$;
CREATE TABLE t (id int, note text); INSERT INTO t VALUES (1);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO queue.jobs VALUES (1); RETURN new; END $$;
CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
--: staging
CREATE SCHEMA "Reach"; CREATE FUNCTION "Reach"."Out"(x text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM dblink_exec(x, 'x'); RETURN x; END $$;
CREATE SCHEMA queue; CREATE TABLE queue.jobs (n int);
--: changed trigger public.t.tell
--: staging says D
SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'tell'
