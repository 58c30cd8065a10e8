-- Triggers that compute, log to a restored table, raise and loop stay enabled.
--: production
CREATE EXTENSION moddatetime SCHEMA extensions;
CREATE TABLE log (id serial, what text, at timestamptz); CREATE TABLE t (id int, code text, amount numeric(10,2), updated_at timestamptz); INSERT INTO t VALUES (1);
CREATE FUNCTION a() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r record; n int; BEGIN
  IF (TG_OP = 'UPDATE') THEN INSERT INTO public.log (what, at) VALUES (coalesce(old.code, 'none'), now()); END IF;
  FOR r IN (SELECT id FROM public.log) LOOP n := greatest(r.id, n); END LOOP;
  IF new.amount < 0 THEN RAISE EXCEPTION 'negative (execute nothing): %', new.amount; END IF;
  new.code := upper(trim(both ' ' from new.code)); -- net.http_post('x')
  new.amount := round(new.amount::numeric(10,2), 2); RETURN new; END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON t FOR EACH ROW WHEN (new.id IS NOT NULL) EXECUTE FUNCTION a();
CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION extensions.moddatetime(updated_at);
--: staging
CREATE EXTENSION moddatetime SCHEMA extensions;
--: staging says O / O
SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'public.t'::regclass
