-- Partitions by range with a default one, indexes and keys.
--: production
CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); CREATE TABLE pd PARTITION OF p DEFAULT; CREATE INDEX ON p (at); INSERT INTO p VALUES (1, '2026-01-05'), (2, '2027-01-01');
--: alike
SELECT tableoid::regclass, * FROM p ORDER BY 2
