-- An extension that production has elsewhere leaves staging's `public`.
--: production
CREATE EXTENSION hstore SCHEMA extensions; CREATE TABLE bag (id int, h extensions.hstore); INSERT INTO bag VALUES (1, 'a=>1');
--: staging
CREATE EXTENSION hstore SCHEMA public;
--: alike
SELECT h::text FROM bag
