-- A table of the same name whose column is of another type is left alone.
--: production
CREATE TYPE own AS ENUM ('a', 'b'); CREATE TABLE notifications (id int PRIMARY KEY, status own); INSERT INTO notifications VALUES (1, 'a'); CREATE TABLE send_queue (id int, status int); INSERT INTO send_queue VALUES (1, 1);
--: alike
SELECT * FROM notifications;
SELECT * FROM send_queue
