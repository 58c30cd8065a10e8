-- Partitions by an expression with a function of its own, and partitions of partitions.
--: production
CREATE FUNCTION region(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT left(t, 1) $$; CREATE TABLE p (w text) PARTITION BY LIST (region(w)); CREATE TABLE pa PARTITION OF p FOR VALUES IN ('a') PARTITION BY HASH (w); CREATE TABLE pa0 PARTITION OF pa FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE pa1 PARTITION OF pa FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p VALUES ('abc'), ('axx'), ('ay');
--: alike
SELECT tableoid::regclass, * FROM p ORDER BY 2
