-- A trigger of another schema that calls a function of `public` calls the new one.
--: production
CREATE TABLE prof (id uuid PRIMARY KEY, src text); CREATE FUNCTION new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.prof VALUES (new.id, 'new code'); RETURN new; END $$;
CREATE TRIGGER on_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION new_user();
--: staging
CREATE TABLE prof (id uuid PRIMARY KEY, src text); CREATE FUNCTION new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.prof VALUES (new.id, 'old code'); RETURN new; END $$;
CREATE TRIGGER on_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION new_user();
--: staging says new code
INSERT INTO auth.users VALUES ('00000000-0000-0000-0000-000000000001', 'a'); SELECT src FROM public.prof
