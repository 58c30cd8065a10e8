-- So is one that only the body of a function names.
--: production
CREATE EXTENSION unaccent SCHEMA extensions; CREATE TABLE t (id int);
CREATE FUNCTION flat(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN extensions.unaccent(t); END $$;
--: refused the extension `unaccent` is missing
