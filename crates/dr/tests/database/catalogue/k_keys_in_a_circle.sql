-- Tables that point at each other and at themselves.
--: production
CREATE TABLE a (id int PRIMARY KEY, b int, up int REFERENCES a DEFERRABLE INITIALLY DEFERRED); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE SET NULL ON UPDATE CASCADE); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b MATCH FULL; INSERT INTO a VALUES (1, NULL, 1); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;
--: alike
SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY 1
