-- A function whose body is bound when it is made, and groups by a key.
--: production
CREATE TABLE shop (id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a');
CREATE FUNCTION names() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM (SELECT id, name FROM shop GROUP BY id) s; END;
--: alike
SELECT names()
