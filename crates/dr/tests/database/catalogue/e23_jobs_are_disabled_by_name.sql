-- Scheduled jobs of staging are disabled, each by name.
--: production
CREATE TABLE t (id int); INSERT INTO t VALUES (1);
--: staging
CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, jobname text, active boolean); INSERT INTO cron.job VALUES (1, 'nightly', true), (2, 'idle', false)
--: noted the scheduled job 1 nightly was disabled
--: staging says 0
SELECT count(*) FROM cron.job WHERE active
