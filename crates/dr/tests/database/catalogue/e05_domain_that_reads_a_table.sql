-- A domain whose check reads a table.
--: production
CREATE TABLE word (w text PRIMARY KEY); INSERT INTO word VALUES ('yes');
CREATE FUNCTION is_word(x text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.word WHERE w = x) $$;
CREATE DOMAIN known_word AS text CHECK (is_word(VALUE));
CREATE TABLE answer (id int, a known_word, many known_word[]); INSERT INTO answer VALUES (1, 'yes', '{yes,yes}');
--: staging
CREATE TABLE word (w text)
--: alike
SELECT * FROM answer;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = 'known_word'::regtype
