-- A check of words that lacks the one that is written.
--: production
CREATE TABLE send_queue (id int PRIMARY KEY, status text CHECK (status IN ('PENDING', 'SENT'))); INSERT INTO send_queue VALUES (1, 'PENDING'), (2, 'SENT');
--: changed constraint public.send_queue.send_queue_status_check
--: staging says SKIPPED / SENT
SELECT status FROM public.send_queue ORDER BY id
