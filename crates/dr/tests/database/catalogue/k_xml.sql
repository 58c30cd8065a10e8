-- Documents and pieces of XML, with their white space.
--: needs xml
--: production
CREATE TABLE v (id int PRIMARY KEY, s xml); INSERT INTO v VALUES (1, '<a b="c"/>'), (2, E'one<b>\n two</b>'), (3, NULL); CREATE INDEX ON v ((s::text));
--: alike
SELECT id, s::text FROM v ORDER BY id
