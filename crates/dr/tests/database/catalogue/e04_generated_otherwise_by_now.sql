-- A generated column that would come out otherwise today is found: no restore can bring it back.
--: production
CREATE TABLE rate (k text PRIMARY KEY, v numeric); INSERT INTO rate VALUES ('vat', 18);
CREATE FUNCTION vat(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT x * (SELECT v FROM public.rate WHERE k = 'vat') / 100 $$;
CREATE TABLE bill (id int, net numeric, tax numeric GENERATED ALWAYS AS (vat(net)) STORED); INSERT INTO bill VALUES (1, 100);
UPDATE rate SET v = 20;
--: differs public.bill
