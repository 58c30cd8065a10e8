//! Personal data is masked before anybody can see it, proven by reading both databases and not by what the restore says.

use std::collections::BTreeSet;

use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_dr::database::{Mask, MaskedBy, MaskingProfile, PostgresStaging, rowcount_csv};

use crate::world::Exercise;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn by(table: &str, column: &str, mask: Mask) -> MaskedBy {
    MaskedBy { schema: "public".to_owned(), table: table.to_owned(), column: column.to_owned(), mask }
}

fn profile(columns: Vec<MaskedBy>) -> MaskingProfile {
    MaskingProfile::new(KEY.to_owned().into(), columns).unwrap()
}

fn staging(exercise: &Exercise, columns: Vec<MaskedBy>) -> PostgresStaging {
    exercise.staging().masked_by(profile(columns))
}

/// Where the platform keeps telephone numbers.
const NUMBERS: [(&str, &str); 8] = [
    ("profiles", "whatsapp_e164"),
    ("vouchers", "whatsapp_e164"),
    ("station_numbers", "wa_e164"),
    ("campaign_targets", "msisdn"),
    ("send_queue", "msisdn_e164"),
    ("notifications", "to_wa_id"),
    ("notifications", "msisdn"),
    ("webhook_logs", "wa_id"),
];

fn platform() -> Vec<MaskedBy> {
    let mut all: Vec<MaskedBy> =
        NUMBERS.iter().map(|(table, column)| by(table, column, Mask::Pseudonym)).collect();
    all.push(by("send_queue", "payload", Mask::Fixed("{}".to_owned())));
    all.push(by("petrol_stations", "name", Mask::Fixed("Pump".to_owned())));
    all.push(by("audit_log", "actor", Mask::Null));
    all
}

fn values(rows: Result<Vec<Vec<String>>, String>) -> BTreeSet<String> {
    rows.unwrap().into_iter().map(|row| row[0].clone()).collect()
}

#[tokio::test]
async fn no_number_of_productions_is_left_and_one_person_stays_one() {
    let exercise = Exercise::with_rows("masking", 2_000).await;
    // One caller is not known, and one wrote nothing.
    exercise
        .production_says(
            "UPDATE public.webhook_logs SET wa_id = NULL WHERE id = (SELECT min(id::text)::uuid FROM public.webhook_logs); \
             UPDATE public.webhook_logs SET wa_id = '' WHERE id = (SELECT max(id::text)::uuid FROM public.webhook_logs)",
        )
        .await;
    let staging = staging(&exercise, platform());
    assert_eq!(staging.compare().await.unwrap().objections, Vec::<String>::new());
    exercise.take().await;
    let restored = staging.restore(&Exercise::id()).await.unwrap_or_else(|error| panic!("{error}"));

    let mut real = BTreeSet::new();
    for (table, column) in NUMBERS {
        let sql = format!("SELECT {column} FROM public.{table} WHERE {column} <> ''");
        real.append(&mut values(exercise.on_production(&sql).await));
    }
    assert!(real.len() > 300, "{}", real.len());
    for (table, column) in NUMBERS {
        let sql = format!("SELECT {column} FROM public.{table} WHERE {column} <> ''");
        let now = values(exercise.on_staging(&sql).await);
        let was = values(exercise.on_production(&sql).await);
        assert_eq!(now.len(), was.len(), "{table}.{column}: as many people as before");
        assert!(now.is_disjoint(&real), "{table}.{column}");
        let shapes = |all: &BTreeSet<String>| -> BTreeSet<String> {
            let digit = |c: char| if c.is_ascii_digit() { '9' } else { c };
            all.iter().map(|value| value.chars().map(digit).collect()).collect()
        };
        assert_eq!(shapes(&now), shapes(&was), "{table}.{column}");
    }
    for same in [
        "SELECT count(*) FROM public.send_queue q JOIN public.campaign_targets t ON t.msisdn = q.msisdn_e164",
        "SELECT count(*) FROM public.webhook_logs w JOIN public.send_queue q ON q.msisdn_e164 = '+' || w.wa_id",
        "SELECT count(*) FROM public.webhook_logs WHERE wa_id IS NULL",
        "SELECT count(*) FROM public.webhook_logs WHERE wa_id = ''",
        "SELECT md5(string_agg(id || code_5 || updated_at || status, ',' ORDER BY id)) FROM public.vouchers",
    ] {
        let (there, here) = (exercise.production_says(same).await, exercise.staging_says(same).await);
        assert_eq!(there, here, "{same}");
        assert_ne!(here, "0", "{same}");
    }
    for (sql, says) in [
        ("SELECT string_agg(DISTINCT payload::text, ' ') FROM public.send_queue", "{}"),
        ("SELECT string_agg(DISTINCT name, ' ') FROM public.petrol_stations", "Pump"),
        ("SELECT count(actor) FROM public.audit_log", "0"),
        // What the planner knows of it is as masked, and nothing else keeps the pairs.
        (
            "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND (tablename, attname) IN (VALUES ('vouchers', 'whatsapp_e164'), \
             ('send_queue', 'msisdn_e164')) AND coalesce(most_common_vals::text, '') || coalesce(histogram_bounds::text, '') ~ '[+]25078000'",
            "0",
        ),
        ("SELECT count(*) FROM pg_class WHERE relname = 'allclear_pseudonyms'", "0"),
    ] {
        assert_eq!(exercise.staging_says(sql).await, says, "{sql}");
    }

    let parity = staging.parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "{}", rowcount_csv(&parity));
    assert_eq!(parity.masked.len(), platform().len());
    let told = restored.notes.join("\n");
    assert!(
        told.contains(
            "masked: public.webhook_logs.wa_id holds pseudonyms in place of 78 values, 2 rows had none"
        ),
        "{told}"
    );
    assert!(real.iter().all(|number| !told.contains(number.as_str())), "{told}");

    // Whoever changes a masked value afterwards is found as anybody else is.
    let change = "UPDATE public.profiles SET whatsapp_e164 = '+1' WHERE whatsapp_e164 = (SELECT min(whatsapp_e164) FROM public.profiles)";
    exercise.on_staging(change).await.unwrap();
    let parity = staging.parity(&Exercise::id()).await.unwrap();
    let different: Vec<&str> =
        parity.tables.iter().filter(|one| !one.is_equal()).map(|one| one.table.as_str()).collect();
    assert_eq!(different, ["public.profiles"]);
}

#[tokio::test]
async fn what_a_masked_column_is_part_of_is_masked_too() {
    let exercise = Exercise::with_rows("masking_parts", 0).await;
    exercise
        .production_says(
            "CREATE TABLE public.calls (at date NOT NULL, number varchar(13), said text, \
               initials text GENERATED ALWAYS AS (left(said, 3)) STORED) PARTITION BY RANGE (at); \
             CREATE TABLE public.calls_old PARTITION OF public.calls FOR VALUES FROM (MINVALUE) TO ('2025-01-01'); \
             CREATE TABLE public.calls_new PARTITION OF public.calls FOR VALUES FROM ('2025-01-01') TO (MAXVALUE); \
             INSERT INTO public.calls (at, number, said) SELECT '2024-12-01'::date + n, '+25078000' || 1000 + n, 'Kim Doe ' || n \
               FROM generate_series(1, 90) n; \
             CREATE MATERIALIZED VIEW public.callers AS SELECT number, count(*) FROM public.calls GROUP BY 1; \
             CREATE INDEX ON public.calls (number)",
        )
        .await;
    let staging = staging(
        &exercise,
        vec![by("calls", "number", Mask::Pseudonym), by("calls", "said", Mask::Fixed("…".to_owned()))],
    );
    assert_eq!(staging.compare().await.unwrap().objections, Vec::<String>::new());
    exercise.take().await;
    staging.restore(&Exercise::id()).await.unwrap_or_else(|error| panic!("{error}"));
    for (sql, says) in [
        ("SELECT count(*) FROM public.calls WHERE number ~ '^[+]25078000'", "0"),
        ("SELECT count(*) FROM public.callers WHERE number ~ '^[+]25078000'", "0"),
        ("SELECT count(*) FROM public.callers v JOIN public.calls c ON c.number = v.number", "90"),
        ("SELECT string_agg(DISTINCT said || initials, ' ') FROM public.calls", "……"),
    ] {
        assert_eq!(exercise.staging_says(sql).await, says, "{sql}");
    }
    let parity = staging.parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "{}", rowcount_csv(&parity));
}

#[tokio::test]
async fn what_cannot_be_masked_is_said_before_anything_is_done() {
    let exercise = Exercise::with_rows("masking_refused", 100).await;
    exercise
        .production_says(
            "CREATE TABLE public.odd (id int PRIMARY KEY, name text, low text GENERATED ALWAYS AS (lower(name)) STORED, \
               mail text, short varchar(3), one text, UNIQUE NULLS NOT DISTINCT (one)); \
             CREATE UNIQUE INDEX ON public.odd (lower(mail))",
        )
        .await;
    let fixed = |text: &str| Mask::Fixed(text.to_owned());
    for (table, column, mask, says) in [
        ("odd", "nothing", Mask::Null, "there is no such column"),
        ("nothing", "name", Mask::Null, "there is no such table"),
        ("odd", "low", Mask::Null, "the server computes it"),
        ("odd", "id", Mask::Null, "it is NOT NULL"),
        ("odd", "id", fixed("1"), "it is part of a key or unique index"),
        ("odd", "id", Mask::Pseudonym, "only text has pseudonyms"),
        ("odd", "mail", Mask::Pseudonym, "index is computed from it"),
        ("odd", "one", Mask::Null, "takes NULL once only"),
        ("odd", "short", fixed("long"), "its fixed text is longer than"),
        ("send_queue", "payload", fixed("no JSON"), "its fixed text is no jsonb"),
        ("vouchers", "user_id", Mask::Null, "it is part of a foreign key"),
        ("profiles", "whatsapp_e164", fixed("+1"), "it is part of a key or unique index"),
    ] {
        let objections =
            staging(&exercise, vec![by(table, column, mask)]).compare().await.unwrap().objections;
        assert_eq!(objections.len(), 1, "{table}.{column}: {objections:?}");
        let named = format!("recovery.masking: public.{table}.{column} cannot be masked: ");
        assert!(objections[0].starts_with(&named) && objections[0].contains(says), "{objections:?}");
    }

    // A backup without the column, one that has it only since, and values that have no others of their shape.
    exercise
        .production_says(
            "INSERT INTO public.odd (id, one) SELECT n, chr(96 + n) FROM generate_series(1, 26) n",
        )
        .await;
    exercise.production_says("ALTER TABLE public.odd ADD CONSTRAINT kind CHECK (name LIKE 'K%')").await;
    exercise.production_says("UPDATE public.odd SET name = 'Kim' WHERE id = 1").await;
    exercise.take().await;
    exercise.production_says("ALTER TABLE public.odd ADD COLUMN later text").await;
    for (column, mask, says) in [
        ("later", Mask::Null, "there is no such column"),
        ("one", Mask::Pseudonym, "there are no others of their shape"),
        ("name", fixed("somebody"), "staging refuses what it is masked by"),
    ] {
        let staging = staging(&exercise, vec![by("odd", column, mask)]);
        assert_eq!(staging.compare().await.unwrap().objections, Vec::<String>::new(), "{column}");
        let error = staging.restore(&Exercise::id()).await.unwrap_err().to_string();
        assert!(error.contains("nothing was swapped in") && error.contains(says), "{error}");
        exercise.assert_staging_untouched().await;
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'allclear_new%'";
        assert_eq!(exercise.staging_says(left).await, "0", "what was loaded is gone");
    }
}

#[tokio::test]
async fn what_was_restored_unmasked_is_restored_anew() {
    let exercise = Exercise::with_rows("masking_anew", 200).await;
    exercise.take().await;
    exercise.restore().await;
    let columns = || vec![by("vouchers", "whatsapp_e164", Mask::Pseudonym)];
    let masked = staging(&exercise, columns());
    assert_eq!(masked.find(&Exercise::id()).await.unwrap(), None);
    masked.restore(&Exercise::id()).await.unwrap();
    let real = "SELECT count(*) FROM public.vouchers WHERE whatsapp_e164 LIKE '+25078000%'";
    assert_eq!(
        (exercise.production_says(real).await, exercise.staging_says(real).await),
        ("16".to_owned(), "0".to_owned())
    );
    let again = masked.restore(&Exercise::id()).await.unwrap();
    assert_eq!(exercise.staging_says("SELECT count(*) FROM allclear.restored").await, "2");
    assert_eq!(masked.find(&Exercise::id()).await.unwrap().unwrap().notes, again.notes);
    // Another key, other pseudonyms.
    let other =
        MaskingProfile::new("another key of thirty-two letters".to_owned().into(), columns()).unwrap();
    let before = values(exercise.on_staging("SELECT whatsapp_e164 FROM public.vouchers").await);
    exercise.staging().masked_by(other).restore(&Exercise::id()).await.unwrap();
    let since = values(exercise.on_staging("SELECT whatsapp_e164 FROM public.vouchers").await);
    assert!(before.is_disjoint(&since));
    assert_eq!(exercise.backups().find(&Exercise::id()).await.unwrap().unwrap().id, Exercise::id());
}

#[test]
fn a_profile_needs_a_key_that_cannot_be_guessed_and_no_column_twice() {
    let columns = || vec![by("vouchers", "whatsapp_e164", Mask::Pseudonym)];
    let error = MaskingProfile::new("short".to_owned().into(), columns()).unwrap_err().to_string();
    assert!(error.contains("32 characters") && !error.contains("short"), "{error}");
    let twice = [columns(), vec![by("vouchers", "whatsapp_e164", Mask::Null)]].concat();
    let error = MaskingProfile::new(KEY.to_owned().into(), twice).unwrap_err().to_string();
    assert!(error.contains("public.vouchers.whatsapp_e164"), "{error}");
}
