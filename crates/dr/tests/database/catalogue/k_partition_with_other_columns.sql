-- A partition that was attached with its columns in another order.
--: production
CREATE TABLE p (a int, b text) PARTITION BY LIST (a); CREATE TABLE q (b text, x int, a int); ALTER TABLE q DROP COLUMN x; ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (1); INSERT INTO p VALUES (1, 'x');
--: alike
SELECT * FROM p
