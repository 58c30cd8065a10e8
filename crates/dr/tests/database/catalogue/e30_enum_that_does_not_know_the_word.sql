-- An enum that lacks the word that is written: refused, with the table and the word.
--: production
CREATE TYPE own AS ENUM ('queued', 'sent'); CREATE TABLE notifications (id int PRIMARY KEY, status own); INSERT INTO notifications VALUES (1, 'queued');
--: fails rows of public.notifications wait to be sent, and its column `status` does not take `failed`
