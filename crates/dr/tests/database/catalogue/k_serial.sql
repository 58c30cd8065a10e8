-- Serials go on where they were.
--: production
CREATE TABLE s (id serial, big bigserial, small smallserial); INSERT INTO s DEFAULT VALUES; INSERT INTO s DEFAULT VALUES;
--: staging says 3|3|3
INSERT INTO public.s DEFAULT VALUES RETURNING id, big, small
