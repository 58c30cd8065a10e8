-- A check that would call out while rows are loaded is refused: it cannot be disabled.
--: production
CREATE SCHEMA net; CREATE FUNCTION net.ask(t int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('a', 'b'); RETURN true; END $$;
CREATE TABLE t (id int CHECK (net.ask(id))); INSERT INTO t VALUES (1);
--: staging
CREATE SCHEMA net; CREATE FUNCTION net.ask(t int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('a', 'b'); RETURN true; END $$;
--: fails would be computed on staging and may reach outside
