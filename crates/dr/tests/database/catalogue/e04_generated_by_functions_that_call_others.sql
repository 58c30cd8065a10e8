-- Generated columns are computed by the new functions.
--: production
CREATE FUNCTION norm(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'v2:' || lower(x) $$;
CREATE FUNCTION two(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT public.norm(x) $$;
CREATE TABLE gen (id int PRIMARY KEY, raw text, g text GENERATED ALWAYS AS (two(raw)) STORED); INSERT INTO gen (id, raw) VALUES (1, 'ABC');
--: staging
CREATE FUNCTION norm(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'v1:' || x $$;
--: alike
SELECT * FROM gen
