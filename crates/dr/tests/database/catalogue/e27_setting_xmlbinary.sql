-- A database that sets xmlbinary otherwise is compared as it is.
--: needs xml
--: production
CREATE TABLE every (id int PRIMARY KEY, b bytea, i interval, d timestamptz, f float8, a text[], back text, x xml);
INSERT INTO every VALUES (1, '\x0001ff', '1 day 02:03:04', '2026-03-01 10:00:00+02', 0.1::float8 + 0.2, ARRAY['a', NULL, 'NULL'], 'a\b', '<a>1</a>');
CREATE FUNCTION f(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT $1';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET xmlbinary = ''hex'' ', current_database() ); END $$;
--: not compared settings of roles and of the database of production that staging does not have
