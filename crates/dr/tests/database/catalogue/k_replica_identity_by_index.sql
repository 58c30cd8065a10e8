-- A replica identity by an index.
--: production
CREATE TABLE t (id int NOT NULL, b int NOT NULL); CREATE UNIQUE INDEX u ON t (b); ALTER TABLE t REPLICA IDENTITY USING INDEX u; INSERT INTO t VALUES (1, 2);
