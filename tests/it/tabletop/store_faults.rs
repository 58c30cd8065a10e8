//! Everything that may go wrong with a database or a bucket of the exercise, once and for good.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::{StoreCall, StoreFault, StoreTrouble};
use crate::drilling::{Trouble, run, untouched};
use crate::fault_matrix::{EXERCISE, Undisturbed, class, end_letter, judge, print, undisturbed};

/// Runs at once.
const AT_ONCE: usize = 8;

/// One run: its sign in the table, and what is wrong with it.
async fn cell(of: &Undisturbed, trouble: StoreTrouble) -> (String, Vec<String>) {
    let ran = run(of.drill, &of.plan, &Trouble::Store(trouble), untouched).await;
    let wrong = judge(&ran, &of.ran).into_iter();
    let wrong = wrong.map(|why| format!("{trouble:?}: {why} (the run says: {})", ran.says)).collect();
    (format!("{}{}", class(&ran, &of.ran), end_letter(ran.outcome)), wrong)
}

fn troubles() -> Vec<StoreTrouble> {
    let mut all = Vec::new();
    for call in StoreCall::ALL {
        for always in [false, true] {
            all.extend(StoreFault::ALL.map(|(fault, _)| StoreTrouble { call, fault, always }));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_database_or_a_bucket_the_exercise_ends_truthfully() {
    let began = Instant::now();
    let of = Arc::new(undisturbed(&[EXERCISE]).await.remove(0));
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = troubles()
        .into_iter()
        .map(|trouble| {
            let (of, permits) = (Arc::clone(&of), Arc::clone(&permits));
            tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                cell(&of, trouble).await
            })
        })
        .collect();
    let (mut text, mut wrong, mut cells) = (String::new(), Vec::new(), 0);
    for (number, (_, name)) in StoreFault::ALL.iter().enumerate() {
        let _ = writeln!(text, "{:>2} {name}", number + 1);
    }
    for (trouble, task) in troubles().into_iter().zip(tasks) {
        let (sign, bad) = task.await.unwrap();
        if trouble.fault == StoreFault::ALL[0].0 {
            let how = if trouble.always { "for good" } else { "once" };
            let _ = write!(text, "\n{:<24}", format!("{:?}, {how}", trouble.call));
        }
        let _ = write!(text, "{sign:>4}");
        cells += 1;
        wrong.extend(bad);
    }
    let took = began.elapsed().as_secs_f64();
    print(&format!("{text}\n{cells} runs of the exercise, {} wrong, {took:.1} s\n", wrong.len()));
    assert_eq!(cells, StoreCall::ALL.len() * StoreFault::ALL.len() * 2, "a cell is empty");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
