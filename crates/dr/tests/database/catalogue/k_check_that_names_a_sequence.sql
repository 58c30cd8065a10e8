-- A check that looks a name up.
--: production
CREATE TABLE z (id int); INSERT INTO z VALUES (1); CREATE TABLE a (n text CHECK (to_regclass('public.' || n) IS NOT NULL)); INSERT INTO a VALUES ('z');
