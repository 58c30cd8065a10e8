-- A sequence with odd parameters, not called yet, and one that cycles.
--: production
CREATE SEQUENCE q AS smallint START 7 INCREMENT -2 MINVALUE -10 MAXVALUE 9 CYCLE CACHE 3; CREATE SEQUENCE r; SELECT nextval('r'), nextval('r'); CREATE UNLOGGED TABLE t (id int); INSERT INTO t VALUES (1);
--: alike
SELECT last_value, is_called FROM q;
SELECT last_value, is_called FROM r
