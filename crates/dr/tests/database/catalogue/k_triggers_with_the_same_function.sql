-- A trigger of `public` with a function of another schema that staging has.
--: production
CREATE SCHEMA lib; CREATE FUNCTION lib.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.id := 7; RETURN new; END $$; CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lib.f();
--: staging
CREATE SCHEMA lib; CREATE FUNCTION lib.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.id := 7; RETURN new; END $$;
