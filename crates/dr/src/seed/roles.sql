-- Roles belong to the cluster: two databases that are made at once would both create them. The lock is the session's.
SELECT pg_advisory_lock(20261125);
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    END IF;
  END LOOP;
  ALTER ROLE service_role BYPASSRLS;
END $$;
