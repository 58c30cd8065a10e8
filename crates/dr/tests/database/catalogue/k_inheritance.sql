-- Tables that inherit, with constraints and columns of their own.
--: production
CREATE TABLE a (id int NOT NULL, CHECK (id > 0)); CREATE TABLE b (w text) INHERITS (a); CREATE TABLE d (id int, x int) INHERITS (a); INSERT INTO a VALUES (1); INSERT INTO b VALUES (2, 'x'); INSERT INTO d VALUES (3, 4);
--: alike
SELECT tableoid::regclass, id FROM a ORDER BY 2;
SELECT * FROM ONLY a
