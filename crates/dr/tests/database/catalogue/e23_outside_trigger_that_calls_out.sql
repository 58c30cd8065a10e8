-- A trigger on `auth.users` that calls out is disabled as well.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM net.http_post('x'); RETURN new; END $$;
CREATE TRIGGER tell AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION tell();
--: changed trigger auth.users.tell
--: staging says D
SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'tell'
