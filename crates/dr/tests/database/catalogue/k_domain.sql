-- Domains with checks, defaults, and over domains.
--: production
CREATE DOMAIN d AS text DEFAULT 'x' NOT NULL CONSTRAINT short CHECK (length(VALUE) < 9); CREATE DOMAIN dd AS d CHECK (VALUE <> 'no'); COMMENT ON CONSTRAINT short ON DOMAIN d IS 'c'; CREATE TABLE t (a d, b dd); INSERT INTO t VALUES ('a', 'b');
--: alike
SELECT * FROM t
