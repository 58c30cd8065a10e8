-- Comments on everything.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);COMMENT ON TABLE t IS E'it''s \\ "x"\nline'; COMMENT ON COLUMN t.a IS 'c'; COMMENT ON CONSTRAINT t_pkey ON t IS 'k'; COMMENT ON INDEX t_pkey IS 'i'; CREATE SEQUENCE s; COMMENT ON SEQUENCE s IS 's';
--: alike
SELECT obj_description('t'::regclass);
SELECT obj_description('t_pkey'::regclass)
