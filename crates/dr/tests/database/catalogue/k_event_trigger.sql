-- An event trigger of production whose function stands in `public` is named.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION ev();
--: noted event trigger watch is not on staging
--: changed event trigger watch
