-- Rules of tables and views, one disabled.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);CREATE VIEW v AS SELECT id, a FROM t; CREATE RULE ins AS ON INSERT TO v DO INSTEAD INSERT INTO t (id, a) VALUES (new.id, new.a); CREATE RULE del AS ON DELETE TO t WHERE old.id = 1 DO INSTEAD NOTHING; ALTER TABLE t DISABLE RULE del; COMMENT ON RULE ins ON v IS 'r';
--: alike
SELECT rulename, ev_enabled FROM pg_rewrite WHERE rulename IN ('ins', 'del') ORDER BY 1
