-- Enums, with a value put in between, in a key, a default and an array.
--: production
CREATE TYPE mood AS ENUM ('sad', 'happy'); ALTER TYPE mood ADD VALUE 'so so' BEFORE 'happy'; COMMENT ON TYPE mood IS 'm'; CREATE TABLE m (a mood DEFAULT 'sad', b mood[]);
--: alike
SELECT enum_range(NULL::mood)
