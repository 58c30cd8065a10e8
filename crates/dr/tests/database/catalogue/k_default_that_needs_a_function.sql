-- Defaults by functions and sequences that stand later in the alphabet.
--: production
CREATE FUNCTION zz() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'z' || (SELECT count(*) FROM public.a); END $$; CREATE SEQUENCE zs; CREATE TABLE a (w text DEFAULT zz(), n int DEFAULT nextval('zs') * 2); INSERT INTO a DEFAULT VALUES;
--: staging says z1|4
INSERT INTO public.a DEFAULT VALUES RETURNING *
