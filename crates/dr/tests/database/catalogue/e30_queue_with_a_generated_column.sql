-- What is computed from a silenced row is compared as it was.
--: production
CREATE TABLE send_queue (id int PRIMARY KEY, status text, low text GENERATED ALWAYS AS (lower(status)) STORED, n int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO send_queue VALUES (1, 'PENDING'), (2, 'SENT');
--: staging says skipped / sent
SELECT low FROM public.send_queue ORDER BY id
