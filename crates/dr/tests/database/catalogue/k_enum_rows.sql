-- Rows of an enum.
--: production
CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE m (a mood PRIMARY KEY DEFAULT 'sad', b mood[]); INSERT INTO m VALUES ('happy', '{sad,happy}');
--: alike
SELECT * FROM m
