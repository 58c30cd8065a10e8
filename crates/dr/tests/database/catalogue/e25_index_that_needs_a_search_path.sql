-- An index whose function needs a search path is backed up and made.
--: production
CREATE EXTENSION unaccent SCHEMA extensions; SET check_function_bodies = off;
CREATE FUNCTION flat(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT unaccent(t) $$; SET search_path = public, extensions;
CREATE TABLE cust (id int PRIMARY KEY, n text); INSERT INTO cust VALUES (1, 'Élodie'), (2, 'Žan'); CREATE INDEX flat_idx ON cust (flat(n));
--: staging
CREATE EXTENSION unaccent SCHEMA extensions;
--: alike
SELECT indexdef FROM pg_indexes WHERE tablename = 'cust' ORDER BY 1
