-- Triggers of a partitioned table, one of them disabled on a partition.
--: production
CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$; CREATE TRIGGER t AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE p2 DISABLE TRIGGER t; INSERT INTO p VALUES (1), (2);
--: alike
SELECT tgrelid::regclass, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1::text
