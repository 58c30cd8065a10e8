-- A key of a partitioned table into another schema, which staging has no rows for: from 18 on such a key can hold for new rows only.
--: needs staging from 18
--: production
CREATE TABLE p (id int, u uuid REFERENCES auth.users) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO auth.users VALUES ('00000000-0000-0000-0000-000000000009', 'q'); INSERT INTO p VALUES (1, '00000000-0000-0000-0000-000000000009');
--: changed constraint public.p.p_u_fkey
