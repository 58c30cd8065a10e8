-- A table of a type.
--: production
CREATE TYPE pair AS (a int, b text); CREATE TABLE of_pair OF pair (PRIMARY KEY (a)); INSERT INTO of_pair VALUES (1, 'x');
