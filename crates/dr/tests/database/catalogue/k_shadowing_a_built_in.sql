-- A function that is named like a built-in one and fits better is not taken for it.
--: production
CREATE FUNCTION public.length(x varchar) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -1'; CREATE TABLE t (v varchar(10), g int GENERATED ALWAYS AS (pg_catalog.length(v)) STORED, h int GENERATED ALWAYS AS (public.length(v)) STORED, CHECK (pg_catalog.length(v) > 0)); INSERT INTO t (v) VALUES ('abc'); CREATE INDEX ON t (pg_catalog.length(v)); CREATE VIEW w AS SELECT pg_catalog.length(v) AS a, public.length(v) AS b FROM t;
--: alike
SELECT * FROM t;
SELECT * FROM w
