-- A check that reads another table reads the new one.
--: production
CREATE TABLE station (code text PRIMARY KEY); INSERT INTO station VALUES ('KGL'), ('HUY');
CREATE FUNCTION known(c text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS (SELECT FROM public.station WHERE code = c) $$;
CREATE TABLE a_pump (id int PRIMARY KEY, station text CHECK (known(station))); INSERT INTO a_pump VALUES (1, 'KGL'), (2, 'HUY');
--: staging
CREATE TABLE station (code text PRIMARY KEY); INSERT INTO station VALUES ('KGL')
--: alike
SELECT * FROM a_pump ORDER BY 1
