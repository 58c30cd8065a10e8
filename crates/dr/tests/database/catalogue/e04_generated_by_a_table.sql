-- A generated column whose function reads a table reads the new one.
--: production
CREATE TABLE rate (k text PRIMARY KEY, v numeric); INSERT INTO rate VALUES ('vat', 18);
CREATE FUNCTION vat(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT x * (SELECT v FROM public.rate WHERE k = 'vat') / 100 $$;
CREATE TABLE bill (id int, net numeric, tax numeric GENERATED ALWAYS AS (vat(net)) STORED); INSERT INTO bill VALUES (1, 100), (2, 50);
--: staging
CREATE TABLE rate (k text, v numeric); INSERT INTO rate VALUES ('vat', 99)
--: alike
SELECT * FROM bill ORDER BY 1
