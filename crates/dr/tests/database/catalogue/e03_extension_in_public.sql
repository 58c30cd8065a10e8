-- An extension in `public` on production, in `extensions` on staging, is taken along.
--: production
CREATE EXTENSION citext SCHEMA public; CREATE TABLE people (id int PRIMARY KEY, mail public.citext UNIQUE); INSERT INTO people VALUES (1, 'A@b.rw');
--: staging
CREATE EXTENSION citext SCHEMA extensions;
--: noted the extension citext was moved from extensions to public
--: alike
SELECT * FROM people WHERE mail = 'a@B.rw'
