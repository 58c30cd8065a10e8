-- Policies: permissive and restrictive, by command and role, forced.
--: production
CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric); INSERT INTO t VALUES (1, 'x', 2, 3.5), (2, 'y', 3, NULL);ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY a ON t FOR SELECT TO anon, authenticated USING (b > 1); CREATE POLICY b ON t AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (auth.uid() IS NOT NULL) WITH CHECK (b < 9); CREATE POLICY c ON t FOR INSERT WITH CHECK (EXISTS (SELECT FROM t x WHERE x.id = t.id)); COMMENT ON POLICY a ON t IS 'p';
--: alike
SELECT policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE tablename = 't' ORDER BY 1
