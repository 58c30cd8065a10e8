-- Settings of roles in this database are named without their values.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1); DO $$ BEGIN EXECUTE format('ALTER ROLE anon IN DATABASE %I SET statement_timeout = ''3s''', current_database()); END $$;
--: not compared settings of roles and of the database of production that staging does not have: anon: statement_timeout
