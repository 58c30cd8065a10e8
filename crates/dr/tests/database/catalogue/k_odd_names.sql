-- Names with quotes, spaces, line ends, dots, percent signs and other scripts.
--: production
CREATE TABLE "Odd ""table"" %s.x" ("a b" int PRIMARY KEY, "c
d" text, "é" text); INSERT INTO "Odd ""table"" %s.x" VALUES (1, 'x', 'y'); CREATE INDEX "in dex" ON "Odd ""table"" %s.x" ("c
d"); CREATE SEQUENCE "se'q ""u"; SELECT nextval('"se''q ""u"'); CREATE FUNCTION "f (x)"("p q" int) RETURNS int LANGUAGE sql AS 'SELECT $1'; CREATE TABLE "select" ("from" int CHECK ("from" > 0)); INSERT INTO "select" VALUES (1); CREATE TABLE "public.public" (id int); CREATE VIEW "v;--" AS SELECT 1 AS "x';";
--: alike
SELECT * FROM "Odd ""table"" %s.x"
