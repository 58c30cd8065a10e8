SET search_path = public;
CREATE TYPE notification_status AS ENUM ('queued', 'sent', 'failed');
CREATE TYPE notification_channel AS ENUM ('template', 'freeform', 'flow', 'media');

CREATE TABLE profiles (user_id uuid PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE, whatsapp_e164 text UNIQUE, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE stations (id uuid PRIMARY KEY, name text NOT NULL, engencode text UNIQUE, owner_contact text, location_point point, status text, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE petrol_stations (id uuid PRIMARY KEY, name text NOT NULL, city text, owner_contact text, status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')), created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE station_numbers (station_id uuid REFERENCES petrol_stations(id) ON DELETE CASCADE, wa_e164 text, role text NOT NULL CHECK (role IN ('manager', 'staff')), active boolean NOT NULL DEFAULT true, PRIMARY KEY (station_id, wa_e164));
CREATE TABLE settings (id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1), subscription_price numeric(10,2), search_radius_km double precision, max_results integer, momo_payee_number text, support_phone_e164 text, admin_whatsapp_numbers text);
CREATE TABLE idempotency_keys (key text PRIMARY KEY, payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE admin_audit_log (id uuid PRIMARY KEY, actor_wa text, admin_user_id uuid, action text NOT NULL, target text, target_id text, details jsonb, before jsonb, after jsonb, reason text, created_at timestamptz NOT NULL DEFAULT now());

CREATE SEQUENCE campaigns_legacy_id_seq;
CREATE TABLE campaigns (id uuid PRIMARY KEY, legacy_id bigint NOT NULL DEFAULT nextval('campaigns_legacy_id_seq'), name text NOT NULL, type text NOT NULL DEFAULT 'promo' CHECK (type IN ('promo', 'voucher')), status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'paused', 'done', 'SENDING', 'SCHEDULED', 'SENT', 'FAILED')), template_id text NOT NULL DEFAULT 'custom_text', created_by uuid REFERENCES auth.users(id), created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, finished_at timestamptz, metadata jsonb NOT NULL DEFAULT '{}', title text, message_kind text, payload jsonb, target_audience text, time_zone text);
ALTER SEQUENCE campaigns_legacy_id_seq OWNED BY campaigns.legacy_id;

CREATE TABLE vouchers (id uuid PRIMARY KEY, code_5 text NOT NULL, amount_minor integer NOT NULL, currency text NOT NULL DEFAULT 'RWF', status text NOT NULL DEFAULT 'issued', user_id uuid REFERENCES profiles(user_id), whatsapp_e164 text NOT NULL, policy_number text NOT NULL, plate text, qr_payload text NOT NULL, image_url text, issued_by_admin uuid REFERENCES profiles(user_id), issued_at timestamptz NOT NULL DEFAULT now(), redeemed_at timestamptz, redeemed_by_station_id uuid REFERENCES petrol_stations(id), notes text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), code5 text, amount numeric(12,2), station_scope uuid REFERENCES stations(id), campaign_id uuid, qr_url text, png_url text, expires_at timestamptz, created_by uuid REFERENCES auth.users(id), metadata jsonb NOT NULL DEFAULT '{}',
  CONSTRAINT vouchers_status_check CHECK (status IN ('issued', 'sent', 'redeemed', 'expired', 'void', 'cancelled')));
CREATE INDEX vouchers_status_idx ON vouchers (status);
CREATE FUNCTION vouchers_sync_admin_columns() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.code5 := upper(coalesce(NEW.code5, NEW.code_5)); NEW.code_5 := NEW.code5;
  NEW.image_url := coalesce(NEW.png_url, NEW.image_url); NEW.png_url := NEW.image_url;
  NEW.amount := NEW.amount_minor / 100.0; NEW.updated_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER vouchers_sync_admin_columns BEFORE INSERT OR UPDATE ON vouchers FOR EACH ROW EXECUTE FUNCTION vouchers_sync_admin_columns();

CREATE TABLE voucher_events (id uuid PRIMARY KEY, voucher_id uuid NOT NULL REFERENCES vouchers(id) ON DELETE CASCADE, event_type text NOT NULL, actor_id uuid REFERENCES auth.users(id), station_id uuid REFERENCES stations(id), context jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE voucher_redemptions (id uuid PRIMARY KEY, voucher_id uuid NOT NULL REFERENCES vouchers(id) ON DELETE CASCADE, station_id uuid REFERENCES petrol_stations(id), redeemer_wa_e164 text, reason text, meta jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE campaign_targets (id uuid PRIMARY KEY, campaign_id uuid NOT NULL REFERENCES campaigns(id) ON DELETE CASCADE, msisdn text NOT NULL, user_id uuid, personalized_vars jsonb NOT NULL DEFAULT '{}', status text NOT NULL DEFAULT 'queued', error_code text, message_id text, last_update_at timestamptz, UNIQUE (campaign_id, msisdn));
CREATE TABLE campaign_recipients (campaign_id uuid NOT NULL, contact_id uuid NOT NULL, msisdn_e164 text NOT NULL, send_allowed boolean NOT NULL DEFAULT true, window_24h_open boolean NOT NULL DEFAULT false);
CREATE TABLE send_queue (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, campaign_id uuid REFERENCES campaigns(id), msisdn_e164 text NOT NULL, payload jsonb NOT NULL, attempt integer NOT NULL DEFAULT 0, next_attempt_at timestamptz, status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'FAILED', 'SKIPPED')));
CREATE TABLE send_logs (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, queue_id bigint, campaign_id uuid, msisdn_e164 text, sent_at timestamptz, provider_msg_id text, delivery_status text, error text);
CREATE TABLE notifications (id uuid PRIMARY KEY, order_id uuid, to_wa_id text NOT NULL, template_name text, notification_type text NOT NULL, channel notification_channel NOT NULL DEFAULT 'template', status notification_status NOT NULL DEFAULT 'queued', payload jsonb NOT NULL DEFAULT '{}', error_message text, sent_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), retry_count integer NOT NULL DEFAULT 0, next_attempt_at timestamptz, locked_at timestamptz, to_role text, type text, msisdn text, metadata jsonb NOT NULL DEFAULT '{}');
CREATE FUNCTION notifications_sync() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.type := NEW.notification_type; NEW.msisdn := NEW.to_wa_id; NEW.updated_at := now(); RETURN NEW; END $$;
CREATE TRIGGER notifications_sync BEFORE INSERT OR UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION notifications_sync();
CREATE TABLE audit_log (id uuid PRIMARY KEY, actor text, actor_type text, action text NOT NULL, target_table text, target_id text, diff jsonb, created_at timestamptz NOT NULL DEFAULT now(), actor_id uuid);
CREATE TABLE webhook_logs (id uuid PRIMARY KEY, endpoint text NOT NULL, wa_id text, status_code integer, error_message text, headers jsonb, payload jsonb, received_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX voucher_events_voucher_idx ON voucher_events (voucher_id);
CREATE VIEW voucher_totals AS SELECT campaign_id, status, count(*) AS vouchers, sum(amount) AS amount FROM vouchers GROUP BY 1, 2;

ALTER TABLE vouchers ENABLE ROW LEVEL SECURITY;
CREATE POLICY vouchers_read ON vouchers FOR SELECT USING (user_id = auth.uid());
GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO anon, authenticated, service_role;
COMMENT ON TABLE vouchers IS 'Money. A redeemed voucher stays redeemed.';
