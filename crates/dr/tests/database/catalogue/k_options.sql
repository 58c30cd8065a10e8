-- Storage options, storage, compression, fill factors, toast.
--: production
CREATE TABLE t (a text, b text) WITH (fillfactor = 50, autovacuum_enabled = off, toast.autovacuum_enabled = off); ALTER TABLE t ALTER b SET STORAGE MAIN, ALTER b SET COMPRESSION pglz; INSERT INTO t VALUES (repeat('x', 100000), 'y');
--: alike
SELECT reloptions FROM pg_class WHERE relname = 't';
SELECT attname, attstorage, attcompression FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0
