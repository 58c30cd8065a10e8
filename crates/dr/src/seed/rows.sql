SET search_path = public;
SET synchronous_commit = off;
SET session_replication_role = replica;
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(kind || n)::uuid $$;
INSERT INTO auth.users SELECT pg_temp.id('user', n), 'user' || n || '@example.org', '2025-01-01Z'::timestamptz FROM generate_series(1, 50) n;
INSERT INTO profiles SELECT pg_temp.id('user', n), '+25078' || lpad(n::text, 7, '0'), '2025-01-01Z'::timestamptz FROM generate_series(1, 50) n;
INSERT INTO stations SELECT pg_temp.id('station', n), 'Station ' || n, 'ENG' || n, '+25078' || lpad(n::text, 7, '0'), point(-1.9 + n / 1000.0, 30.1), 'active', '2025-01-01Z'::timestamptz FROM generate_series(1, 20) n;
INSERT INTO petrol_stations (id, name, city, created_at, updated_at) SELECT pg_temp.id('petrol', n), 'Pump ' || n, 'Kigali', '2025-01-01Z', '2025-01-01Z' FROM generate_series(1, 20) n;
INSERT INTO station_numbers SELECT pg_temp.id('petrol', n), '+25078' || lpad(n::text, 7, '0'), 'manager', true FROM generate_series(1, 20) n;
INSERT INTO settings VALUES (1, 5000.00, 7.5, 20, '0780000001', '+250780000002', 'line one' || chr(10) || 'tab' || chr(9) || 'back\slash');
INSERT INTO campaigns (id, name, status, created_by, created_at, metadata) SELECT pg_temp.id('campaign', n), 'Campaign ' || n, 'done', pg_temp.id('user', 1 + n % 50), '2025-02-01Z', '{"wave": 1}' FROM generate_series(1, 20) n;
INSERT INTO vouchers (id, code_5, code5, amount_minor, amount, status, user_id, whatsapp_e164, policy_number, qr_payload, issued_at, created_at, updated_at, campaign_id, created_by)
  SELECT pg_temp.id('voucher', n), c, c, 200000, 2000, CASE WHEN n % 3 = 0 THEN 'redeemed' ELSE 'issued' END, pg_temp.id('user', 1 + n % 50), '+25078' || lpad(n::text, 7, '0'), 'POL-' || n, 'V:' || n, t, t, t, pg_temp.id('campaign', 1 + n % 20), pg_temp.id('user', 1 + n % 50)
  FROM (SELECT n, upper(left(md5(n::text), 5)) AS c, '2025-03-01Z'::timestamptz + n * interval '1 second' AS t FROM generate_series(1, ROWS * 80 / 1000) n) v;
INSERT INTO voucher_events (id, voucher_id, event_type, station_id, context, created_at)
  SELECT pg_temp.id('event', n), pg_temp.id('voucher', 1 + n % (ROWS * 80 / 1000)), 'sent', pg_temp.id('station', 1 + n % 20), '{"by": "admin"}', '2025-03-02Z'::timestamptz + n * interval '1 second' FROM generate_series(1, ROWS * 140 / 1000) n;
INSERT INTO voucher_redemptions (id, voucher_id, station_id, redeemer_wa_e164, created_at)
  SELECT pg_temp.id('redemption', n), pg_temp.id('voucher', n), pg_temp.id('petrol', 1 + n % 20), '+25078' || lpad(n::text, 7, '0'), '2025-03-03Z'::timestamptz + n * interval '1 second' FROM generate_series(1, ROWS * 60 / 1000) n;
INSERT INTO campaign_targets (id, campaign_id, msisdn, status, last_update_at)
  SELECT pg_temp.id('target', n), pg_temp.id('campaign', 1 + n % 20), '+25078' || lpad(n::text, 7, '0'), 'sent', '2025-03-04Z'::timestamptz + n * interval '1 second' FROM generate_series(1, ROWS * 140 / 1000) n;
INSERT INTO campaign_recipients SELECT pg_temp.id('campaign', 1 + n % 20), pg_temp.id('contact', n), '+25078' || lpad(n::text, 7, '0'), true, n % 2 = 0 FROM generate_series(1, ROWS * 120 / 1000) n;
INSERT INTO send_queue (id, campaign_id, msisdn_e164, payload, status)
  SELECT n, pg_temp.id('campaign', 1 + n % 20), '+25078' || lpad(n::text, 7, '0'), '{"text": "hello"}', CASE WHEN n % 100 = 0 THEN 'PENDING' ELSE 'SENT' END FROM generate_series(1, ROWS * 120 / 1000) n;
INSERT INTO send_logs (id, queue_id, campaign_id, msisdn_e164, sent_at, delivery_status)
  SELECT n, n, pg_temp.id('campaign', 1 + n % 20), '+25078' || lpad(n::text, 7, '0'), '2025-03-05Z'::timestamptz + n * interval '1 second', 'sent' FROM generate_series(1, ROWS * 180 / 1000) n;
INSERT INTO notifications (id, to_wa_id, msisdn, notification_type, type, status, created_at, updated_at)
  SELECT pg_temp.id('notification', n), '+25078' || lpad(n::text, 7, '0'), '+25078' || lpad(n::text, 7, '0'), 'order', 'order', (CASE WHEN n % 50 = 0 THEN 'queued' ELSE 'sent' END)::notification_status, '2025-03-06Z', '2025-03-06Z' FROM generate_series(1, ROWS * 60 / 1000) n;
INSERT INTO audit_log (id, actor, action, target_table, target_id, diff, created_at)
  SELECT pg_temp.id('audit', n), 'admin', 'voucher_sent', 'vouchers', n::text, '{"status": ["issued", "sent"]}', '2025-03-07Z'::timestamptz + n * interval '1 second' FROM generate_series(1, ROWS * 60 / 1000) n;
INSERT INTO webhook_logs (id, endpoint, wa_id, status_code, payload, received_at)
  SELECT pg_temp.id('webhook', n), 'wa-webhook', '25078' || lpad(n::text, 7, '0'), 200, '{"entry": []}', '2025-03-08Z'::timestamptz + n * interval '1 second' FROM generate_series(1, ROWS * 40 / 1000) n;
SELECT setval('campaigns_legacy_id_seq', 1000), setval(pg_get_serial_sequence('send_queue', 'id'), ROWS + 1), setval(pg_get_serial_sequence('send_logs', 'id'), ROWS + 1);
