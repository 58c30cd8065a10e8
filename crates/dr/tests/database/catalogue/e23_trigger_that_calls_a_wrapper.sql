-- Triggers that call out by a wrapper or directly are disabled, each by name; silent ones stay.
--: production
CREATE SCHEMA net; CREATE TABLE net.log (u text); CREATE FUNCTION net.http_post(url text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO net.log VALUES (url) RETURNING 1::bigint $$;
CREATE FUNCTION send(u text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM net.http_post(u); END $$;
CREATE TABLE voucher (id int, seen timestamptz); INSERT INTO voucher VALUES (1);
CREATE FUNCTION on_voucher() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.send('https://hooks.example.test/prod'); RETURN new; END $$;
CREATE FUNCTION direct() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM net.http_post('https://direct.example.test'); RETURN new; END $$;
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.seen := now(); RETURN new; END $$;
CREATE TRIGGER tell AFTER INSERT ON voucher FOR EACH ROW EXECUTE FUNCTION on_voucher();
CREATE TRIGGER tell2 AFTER INSERT ON voucher FOR EACH ROW EXECUTE FUNCTION direct();
CREATE TRIGGER quiet BEFORE INSERT ON voucher FOR EACH ROW EXECUTE FUNCTION quiet();
--: staging
CREATE SCHEMA net; CREATE TABLE net.log (u text); CREATE FUNCTION net.http_post(url text) RETURNS bigint LANGUAGE sql AS $$ INSERT INTO net.log VALUES (url) RETURNING 1::bigint $$;
--: noted the trigger public.voucher.tell was disabled
--: noted the trigger public.voucher.tell2 was disabled
--: changed trigger public.voucher.tell
--: staging says quiet O / tell D / tell2 D
SELECT tgname || ' ' || tgenabled::text FROM pg_trigger WHERE tgrelid = 'public.voucher'::regclass ORDER BY 1
--: staging says 0
INSERT INTO public.voucher VALUES (2); SELECT count(*) FROM net.log
