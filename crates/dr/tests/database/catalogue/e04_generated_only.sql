-- A table that has only generated columns.
--: production
CREATE TABLE fixed (g int GENERATED ALWAYS AS (42) STORED); INSERT INTO fixed DEFAULT VALUES; INSERT INTO fixed DEFAULT VALUES;
--: alike
SELECT * FROM fixed
