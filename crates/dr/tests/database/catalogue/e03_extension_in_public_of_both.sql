-- An extension in `public` on both sides stays usable.
--: production
CREATE EXTENSION citext SCHEMA public; CREATE TABLE people (id int PRIMARY KEY, mail public.citext UNIQUE); INSERT INTO people VALUES (1, 'A@b.rw');
--: staging
CREATE EXTENSION citext SCHEMA public; CREATE TABLE people (mail citext); INSERT INTO people VALUES ('old')
--: alike
SELECT * FROM people WHERE mail = 'a@B.rw'
