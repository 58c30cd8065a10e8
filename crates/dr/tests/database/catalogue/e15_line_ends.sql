-- Line ends of Windows in bodies, defaults, comments, checks, views and policies stay as they are.
--: production
DO $do$ BEGIN
EXECUTE E'CREATE FUNCTION win() RETURNS text LANGUAGE plpgsql AS $$\r\nBEGIN\r\n  RETURN ''one\r\ntwo'';\r\nEND\r\n$$';
EXECUTE E'CREATE TABLE crlf (id int, t text DEFAULT ''a\r\nb'' CHECK (t <> ''x\r\ny''))';
EXECUTE E'COMMENT ON TABLE crlf IS ''x\r\ny''';
EXECUTE E'CREATE VIEW v AS SELECT ''q\r\nr'' AS c';
END $do$; INSERT INTO crlf VALUES (1);
--: alike
SELECT md5(prosrc), encode(convert_to(win(), 'UTF8'), 'hex') FROM pg_proc WHERE proname = 'win';
SELECT encode(convert_to(t, 'UTF8'), 'hex') FROM crlf;
SELECT encode(convert_to(obj_description('crlf'::regclass), 'UTF8'), 'hex');
SELECT encode(convert_to(c, 'UTF8'), 'hex') FROM v
