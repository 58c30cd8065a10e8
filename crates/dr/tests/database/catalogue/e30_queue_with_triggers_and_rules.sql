-- Silencing fires neither triggers nor rules, and no row security is in its way.
--: production
CREATE TABLE audit (n int); CREATE TABLE send_queue (id int PRIMARY KEY, status text, touched int DEFAULT 0); INSERT INTO send_queue VALUES (1, 'PENDING');
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.touched := 1; INSERT INTO public.audit VALUES (1); RETURN new; END $$;
CREATE TRIGGER f BEFORE UPDATE ON send_queue FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE send_queue ENABLE ALWAYS TRIGGER f;
CREATE RULE r AS ON UPDATE TO send_queue DO ALSO INSERT INTO public.audit VALUES (2); ALTER TABLE send_queue ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
--: staging says SKIPPED|0|0
SELECT status, touched, (SELECT count(*) FROM public.audit) FROM public.send_queue
