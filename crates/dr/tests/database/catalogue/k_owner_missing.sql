-- A role that staging lacks is named before anything is done.
--: production
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'only here') THEN CREATE ROLE "only here"; END IF; END $$; CREATE TABLE t (id int); GRANT SELECT ON t TO "only here";
--: refused on staging: there is no role `only here`
