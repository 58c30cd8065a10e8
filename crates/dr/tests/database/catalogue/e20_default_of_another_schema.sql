-- A default of another schema calls the new function.
--: production
CREATE SCHEMA crm; CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION code() RETURNS text LANGUAGE sql AS $$ SELECT 'new' $$;
CREATE TABLE crm.note (c text DEFAULT public.code());
--: staging
CREATE SCHEMA crm; CREATE FUNCTION code() RETURNS text LANGUAGE sql AS $$ SELECT 'old' $$; CREATE TABLE crm.note (c text DEFAULT public.code());
--: staging says new
INSERT INTO crm.note DEFAULT VALUES; SELECT c FROM crm.note
