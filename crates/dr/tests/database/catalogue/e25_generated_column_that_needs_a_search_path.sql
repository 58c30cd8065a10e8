-- So is a generated column.
--: production
CREATE EXTENSION unaccent SCHEMA extensions; SET check_function_bodies = off;
CREATE FUNCTION flat(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT unaccent(t) $$; SET search_path = public, extensions;
CREATE TABLE cust (id int PRIMARY KEY, n text, f text GENERATED ALWAYS AS (flat(n)) STORED); INSERT INTO cust VALUES (1, 'Élodie');
--: staging
CREATE EXTENSION unaccent SCHEMA extensions;
--: alike
SELECT * FROM cust
