//! From production to staging and back to the numbers.

use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_dr::database::rowcount_csv;

use crate::world::Exercise;

#[tokio::test]
async fn what_production_held_stands_in_staging_byte_for_byte() {
    let exercise = Exercise::with_rows("round_trip", 4_000).await;
    let backup = exercise.take().await;
    assert_eq!(backup.destination, "s3://backups/supabase/dr-2026-11-25");
    assert_eq!(exercise.backups().find(&Exercise::id()).await.unwrap(), Some(backup.clone()));

    // What happens on production after the snapshot is no difference.
    exercise.production_says("DELETE FROM public.voucher_redemptions").await;

    let restored = exercise.restore().await;
    assert_eq!(restored.tables as usize, backup.tables.len());
    assert_eq!(restored.rows, backup.tables.iter().map(|table| table.rows).sum::<u64>());
    assert_eq!(exercise.staging().find(&Exercise::id()).await.unwrap().unwrap().rows, restored.rows);

    // By staging's own clock it began after the snapshot and before its mark was made, and the mark keeps that.
    let between = format!(
        "SELECT began_at BETWEEN '{}' AND restored_at FROM allclear.restored WHERE began_at = '{}'",
        backup.snapshot_at,
        restored.began_at.unwrap()
    );
    assert_eq!(exercise.staging_says(&between).await, "t");
    let found = exercise.staging().find(&Exercise::id()).await.unwrap().unwrap();
    assert_eq!(found.began_at, restored.began_at);
    exercise.staging_says("ALTER TABLE allclear.restored DROP COLUMN began_at").await;
    let by_an_earlier_version = exercise.staging().find(&Exercise::id()).await.unwrap().unwrap();
    assert_eq!(by_an_earlier_version.began_at, None);

    let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "{}", rowcount_csv(&parity));
    let csv = rowcount_csv(&parity);
    assert!(csv.contains("public.vouchers,320,320,"), "{csv}");

    let aside = restored.put_aside.unwrap();
    let before = exercise.staging_says(&format!("SELECT value FROM {aside}.settings")).await;
    assert_eq!(before, "before");
}

#[tokio::test]
async fn nothing_restored_can_reach_a_real_person() {
    let exercise = Exercise::with_rows("neutral", 2_000).await;
    // A database webhook as Supabase makes them, and a scheduled job in staging.
    let calls_out = "CREATE FUNCTION public.tell_dispatcher() RETURNS trigger LANGUAGE plpgsql AS $$ \
                     BEGIN PERFORM net.http_post('https://example.org'); RETURN NEW; END $$; \
                     CREATE TRIGGER tell_dispatcher AFTER INSERT ON public.send_queue FOR EACH ROW \
                     EXECUTE FUNCTION public.tell_dispatcher()";
    exercise.production_says(calls_out).await;
    exercise.staging_says("CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, active boolean); INSERT INTO cron.job VALUES (1, true)").await;
    exercise.take().await;
    exercise.restore().await;

    let waiting = "SELECT count(*) FROM public.send_queue WHERE status = 'PENDING'";
    assert_eq!(exercise.production_says(waiting).await, "2");
    assert_eq!(exercise.staging_says(waiting).await, "0");
    assert_eq!(
        exercise.staging_says("SELECT count(*) FROM public.send_queue WHERE status = 'SKIPPED'").await,
        "2"
    );
    assert_eq!(
        exercise.staging_says("SELECT count(*) FROM public.notifications WHERE status = 'queued'").await,
        "0"
    );
    let trigger = "SELECT string_agg(tgname || ' ' || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger \
                   WHERE NOT tgisinternal AND tgrelid IN ('public.send_queue'::regclass, 'public.vouchers'::regclass)";
    assert_eq!(exercise.staging_says(trigger).await, "tell_dispatcher D,vouchers_sync_admin_columns O");
    assert_eq!(exercise.staging_says("SELECT active FROM cron.job").await, "f");
    // And still every byte is compared.
    let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "{}", rowcount_csv(&parity));
}

#[tokio::test]
async fn staging_works_for_supabases_roles_after_a_restore() {
    let exercise = Exercise::with_rows("grants", 1_000).await;
    exercise.staging_says("GRANT CREATE ON SCHEMA public TO service_role").await;
    exercise.take().await;
    exercise.restore().await;
    let as_role = |role: &str, sql: &str| format!("SET ROLE {role}; {sql}");
    let read = as_role("service_role", "SELECT count(*) FROM public.vouchers");
    assert_eq!(exercise.staging_says(&read).await, "80");
    // Row security came along: a stranger sees none, a user their own.
    let stranger = as_role("anon", "SELECT count(*) FROM public.vouchers");
    assert_eq!(exercise.staging_says(&stranger).await, "0");
    let create = as_role("service_role", "CREATE TABLE public.made_later (id int); SELECT 'made'");
    assert_eq!(exercise.staging_says(&create).await, "made");
    exercise.staging_says("CREATE TABLE public.by_owner (id int)").await;
    let later = as_role("anon", "SELECT count(*) FROM public.by_owner");
    assert_eq!(exercise.staging_says(&later).await, "0", "default grants are kept");
    // Keys to staging's own users hold for new rows, and sequences go on where production's were.
    let key = "SELECT convalidated FROM pg_constraint WHERE conname = 'vouchers_created_by_fkey'";
    assert_eq!(exercise.staging_says(key).await, "f");
    let next = "INSERT INTO public.send_queue (msisdn_e164, payload, status) VALUES ('+250780000000', '{}', 'SKIPPED') RETURNING id";
    assert_eq!(exercise.staging_says(next).await, "1002");
    // A second restore of another backup puts this one aside in turn.
    exercise.backups().take(&"second".parse().unwrap()).await.unwrap();
    let second = exercise.staging().restore(&"second".parse().unwrap()).await.unwrap();
    assert_eq!(exercise.staging().find(&Exercise::id()).await.unwrap(), None);
    assert_eq!(
        exercise
            .staging_says(&format!("SELECT count(*) FROM {}.made_later", second.put_aside.unwrap()))
            .await,
        "0"
    );
}

#[tokio::test]
async fn files_beside_a_backup_are_read_back() {
    let exercise = Exercise::not_enrolled("beside").await;
    let backups = exercise.backups();
    let kept = backups.keep_file(&Exercise::id(), "backup.log", b"all well\n").await.unwrap();
    assert_eq!(backups.find_file(&Exercise::id(), "backup.log").await.unwrap(), Some(kept));
    assert_eq!(backups.find_file(&Exercise::id(), "rowcount.csv").await.unwrap(), None);
    assert!(backups.keep_file(&Exercise::id(), "db/manifest.json", b"").await.is_err());
}
