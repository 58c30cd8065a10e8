-- A table whose check reads one that has a check of its own, whatever their names.
--: production
CREATE TABLE z_base (code text PRIMARY KEY); INSERT INTO z_base VALUES ('a');
CREATE FUNCTION in_base(c text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.z_base WHERE code = c) $$;
CREATE TABLE m_mid (code text CHECK (in_base(code))); INSERT INTO m_mid VALUES ('a');
CREATE FUNCTION in_mid(c text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.m_mid WHERE code = c) $$;
CREATE TABLE a_top (code text CHECK (in_mid(code))); INSERT INTO a_top VALUES ('a');
--: alike
SELECT * FROM a_top
