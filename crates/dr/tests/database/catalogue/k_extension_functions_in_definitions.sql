-- Defaults and checks that call functions of extensions.
--: production
CREATE EXTENSION "uuid-ossp" SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions; CREATE TABLE t (id uuid DEFAULT extensions.uuid_generate_v4() PRIMARY KEY, k text CHECK (extensions.digest(k, 'sha256') IS NOT NULL)); INSERT INTO t (k) VALUES ('a');
--: staging
CREATE EXTENSION "uuid-ossp" SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions;
