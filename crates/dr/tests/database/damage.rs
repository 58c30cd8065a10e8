//! What was damaged in the bucket is not restored, and what differs in staging is found.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use allclear_core::PortError;
use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_core::recovery::Backup;

use crate::world::Exercise;

#[tokio::test]
async fn a_truncated_file_is_refused_wherever_it_is_cut() {
    let exercise = Exercise::with_rows("truncated", 2_000).await;
    exercise.take().await;
    let object = exercise.object_of("vouchers");
    let whole = std::fs::read(&object).unwrap();
    for n in 0..200 {
        std::fs::write(&object, &whole[..whole.len() * n / 200]).unwrap();
        let found = exercise.backups().find(&Exercise::id()).await;
        assert!(matches!(found, Err(PortError::Damaged { .. })), "cut at {n}/200: {found:?}");
        if n % 20 == 0 {
            let error = exercise.staging().restore(&Exercise::id()).await.unwrap_err();
            assert!(matches!(error, PortError::Damaged { .. }), "cut at {n}/200: {error}");
            assert!(error.to_string().contains("nothing was restored"), "{error}");
        }
    }
    std::fs::remove_file(&object).unwrap();
    let error = exercise.staging().restore(&Exercise::id()).await.unwrap_err();
    assert!(error.to_string().contains("it is gone"), "{error}");
    exercise.assert_staging_untouched().await;
    std::fs::write(&object, &whole).unwrap();
    exercise.restore().await;
}

#[tokio::test]
async fn one_flipped_bit_in_any_file_or_in_the_manifest_is_refused() {
    let exercise = Exercise::with_rows("flipped", 1_000).await;
    exercise.take().await;
    for (nth, (path, _)) in exercise.objects().into_iter().enumerate() {
        // What was whole is kept for the next try, also what was still under way when a try ended: each begins in a
        // folder of its own, so that a file kept by one never hides the damage of the next.
        let staging = exercise.staging_working_in(exercise.work().join(nth.to_string()));
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        let mut byte = [0_u8];
        file.read_at(&mut byte, middle).unwrap();
        file.write_at(&[byte[0] ^ 1], middle).unwrap();
        let error = staging.restore(&Exercise::id()).await.unwrap_err();
        assert!(matches!(error, PortError::Damaged { .. }), "{}: {error}", path.display());
        file.write_at(&byte, middle).unwrap();
    }
    exercise.assert_staging_untouched().await;
    exercise.restore().await;
}

#[tokio::test]
async fn a_backup_without_its_seal_is_none() {
    let exercise = Exercise::with_rows("unsealed", 100).await;
    exercise.take().await;
    let seal = exercise.objects().into_iter().find(|(path, _)| path.ends_with("db/manifest.json.sha256"));
    std::fs::remove_file(seal.unwrap().0).unwrap();
    assert_eq!(exercise.backups().find(&Exercise::id()).await.unwrap(), None);
    let error = exercise.staging().restore(&Exercise::id()).await.unwrap_err();
    assert!(matches!(error, PortError::NotFound { .. }), "{error}");
    exercise.assert_staging_untouched().await;
}

#[tokio::test]
async fn an_empty_dump_is_refused() {
    let none = Exercise::not_enrolled("no_tables").await;
    let error = none.backups().take(&Exercise::id()).await.unwrap_err().to_string();
    assert!(error.contains("the dump is empty (no table in public)"), "{error}");
    assert_eq!(none.objects(), []);

    let exercise = Exercise::with_rows("emptied", 1_000).await;
    exercise.backups().take(&"before".parse().unwrap()).await.unwrap();
    let empty = "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' \
                 LOOP EXECUTE format('TRUNCATE public.%I CASCADE', t); END LOOP; END $$";
    exercise.production_says(empty).await;
    let before = exercise.objects();
    let error = exercise.backups().take(&Exercise::id()).await.unwrap_err().to_string();
    assert!(error.contains("no table has a row, but the backup `before`"), "{error}");
    assert_eq!(exercise.objects(), before, "the earlier backup is untouched");
}

/// The tables that parity finds unequal after a change in staging.
async fn unequal(exercise: &Exercise, change: &str) -> Vec<String> {
    exercise.staging_says(change).await;
    let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
    assert!(!parity.holds(), "after {change}");
    parity.tables.iter().filter(|table| !table.is_equal()).map(|table| table.table.clone()).collect()
}

#[tokio::test]
async fn parity_finds_a_byte_a_row_and_a_table() {
    let exercise = Exercise::with_rows("parity", 1_000).await;
    let Backup { tables, .. } = exercise.take().await;
    assert!(tables.iter().any(|table| table.table == "public.settings" && table.rows == 1));
    exercise.restore().await;
    assert!(exercise.staging().parity(&Exercise::id()).await.unwrap().holds());

    let byte = "UPDATE public.audit_log SET actor = 'admim' WHERE target_id = '7'";
    assert_eq!(unequal(&exercise, byte).await, ["public.audit_log"]);
    exercise.staging_says("UPDATE public.audit_log SET actor = 'admin' WHERE target_id = '7'").await;

    // Two rows that swap their values are as many rows with as many bytes.
    let swapped = "UPDATE public.webhook_logs SET status_code = CASE wa_id WHEN '250780000001' THEN 201 ELSE 199 END \
                   WHERE wa_id IN ('250780000001', '250780000002')";
    assert_eq!(unequal(&exercise, swapped).await, ["public.webhook_logs"]);
    exercise.staging_says("UPDATE public.webhook_logs SET status_code = 200").await;

    let one_less = "DELETE FROM public.send_logs WHERE id = 3";
    assert_eq!(unequal(&exercise, one_less).await, ["public.send_logs"]);
    exercise.staging_says("INSERT INTO public.send_logs SELECT 3, 3, campaign_id, '+250780000003', '2025-03-05T00:00:03Z', NULL, 'sent' FROM public.send_queue WHERE id = 3").await;
    assert!(exercise.staging().parity(&Exercise::id()).await.unwrap().holds(), "put back as it was");

    let sent = "UPDATE public.send_queue SET status = 'SENT' WHERE id = 100";
    assert_eq!(unequal(&exercise, sent).await, ["public.send_queue"]);
    let more =
        "CREATE TABLE public.surplus (id int); DROP VIEW public.voucher_totals; DROP TABLE public.settings";
    assert_eq!(unequal(&exercise, more).await, ["public.send_queue", "public.settings", "public.surplus"]);
}
