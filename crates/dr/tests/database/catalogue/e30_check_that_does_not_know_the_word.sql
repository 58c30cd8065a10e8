-- A check that does not know the word of silenced rows holds for new rows only; nothing waits to be sent.
--: production
CREATE TABLE notifications (id int PRIMARY KEY, status text NOT NULL, error_message text, CONSTRAINT vocab CHECK (status <> 'failed' OR error_message IS NOT NULL), CONSTRAINT other CHECK (status <> ''));
COMMENT ON CONSTRAINT vocab ON notifications IS 'kept'; INSERT INTO notifications VALUES (1, 'queued'), (2, 'sent');
--: changed constraint public.notifications.vocab
--: staging says failed / sent
SELECT status FROM public.notifications ORDER BY id
--: staging says other t / vocab f
SELECT conname || ' ' || left(convalidated::text, 1) FROM pg_constraint WHERE conrelid = 'public.notifications'::regclass AND contype = 'c' ORDER BY 1
