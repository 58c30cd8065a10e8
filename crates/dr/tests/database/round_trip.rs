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

    let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "{}", rowcount_csv(&parity));
    let csv = rowcount_csv(&parity);
    assert!(csv.contains("public.vouchers,320,320,"), "{csv}");

    let aside = restored.put_aside.unwrap();
    let before = exercise.staging_says(&format!("SELECT value FROM {aside}.settings")).await;
    assert_eq!(before, "before");
}
