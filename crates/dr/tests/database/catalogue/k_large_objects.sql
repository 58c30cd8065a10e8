-- Large objects belong to no schema and are named.
--: production
CREATE TABLE t (pic oid); INSERT INTO t VALUES (lo_from_bytea(0, '\x01'));
--: not compared large objects, which belong to no schema and are neither backed up nor compared: production has 1, staging 0
