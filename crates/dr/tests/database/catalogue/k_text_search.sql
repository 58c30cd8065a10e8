-- Text search: a dictionary, a configuration, a vector column with its index.
--: production
CREATE TEXT SEARCH DICTIONARY d (template = simple, stopwords = english); CREATE TEXT SEARCH CONFIGURATION conf (copy = simple); ALTER TEXT SEARCH CONFIGURATION conf ALTER MAPPING FOR asciiword WITH d, simple; CREATE TABLE t (a text, v tsvector GENERATED ALWAYS AS (to_tsvector('public.conf', a)) STORED); INSERT INTO t (a) VALUES ('the quick fox'); CREATE INDEX ON t USING gin (v);
--: alike
SELECT v FROM t
