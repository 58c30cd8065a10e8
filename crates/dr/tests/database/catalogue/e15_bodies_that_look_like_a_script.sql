-- A body that looks like the script of a dump stays whole.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1);
CREATE FUNCTION odd() RETURNS text LANGUAGE sql AS $f$ SELECT '
SET lock_timeout = 0;
\restrict abc
\unrestrict abc
--
-- Name: t; Type: TABLE; Schema: public; Owner: postgres
--

    ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES b;
\.
' $f$;
--: alike
SELECT md5(odd()), md5(prosrc) FROM pg_proc WHERE proname = 'odd'
