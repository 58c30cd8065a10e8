-- Checks and keys that do not hold for old rows stay so.
--: production
CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int, n int); INSERT INTO b VALUES (9, -1); ALTER TABLE b ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES a NOT VALID, ADD CONSTRAINT pos CHECK (n > 0) NOT VALID, ADD CONSTRAINT none CHECK (n < 9) NO INHERIT; COMMENT ON CONSTRAINT pos ON b IS 'c';
--: alike
SELECT conname, convalidated, connoinherit FROM pg_constraint WHERE conrelid = 'b'::regclass ORDER BY 1
