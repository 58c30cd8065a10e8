-- A table without columns keeps its rows.
--: production
CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
--: alike
SELECT count(*) FROM none
