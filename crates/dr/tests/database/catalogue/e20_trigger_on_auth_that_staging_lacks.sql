-- One that staging does not have is made.
--: production
CREATE TABLE prof (id uuid PRIMARY KEY); CREATE FUNCTION new_user() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.prof VALUES (new.id); RETURN new; END $$;
CREATE TRIGGER on_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION new_user();
--: alike
SELECT tgname, tgfoid::regproc, tgenabled FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass AND NOT tgisinternal
