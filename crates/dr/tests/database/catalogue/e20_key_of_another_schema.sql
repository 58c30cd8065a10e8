-- A key of another schema points at the new table, for new rows.
--: production
CREATE SCHEMA crm; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE crm.note (t int REFERENCES public.t);
--: staging
CREATE SCHEMA crm; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7); CREATE TABLE crm.note (t int REFERENCES public.t); INSERT INTO crm.note VALUES (7);
--: changed constraint crm.note.note_t_fkey
--: staging says public.t
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE conname = 'note_t_fkey'
