-- What production publishes is named.
--: production
CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE PUBLICATION live FOR TABLE t; ALTER TABLE t REPLICA IDENTITY FULL;
--: not compared publications of production that staging does not have: live: public.t
--: alike
SELECT relreplident FROM pg_class WHERE relname = 't'
