//! Deletes. What hangs on a row goes with it where the database says so; what this world still needs stays, and that is told.

use axum::response::Response;

use super::answer::Asked;
use super::insert::Insert;
use super::query::RestError;
use super::{deleted, denied, places};
use crate::world::World;
use crate::world::rows::{Audit, Target, Voucher, VoucherEvent};

pub(super) fn delete_from(world: &mut World, table: &str, asked: &Asked) -> Result<Response, RestError> {
    match table {
        "audit_log" => delete::<Audit>(world, asked, "audit.delete"),
        "voucher_events" => delete::<VoucherEvent>(world, asked, "voucher.event_delete"),
        "vouchers" => {
            let answer = delete::<Voucher>(world, asked, "voucher.delete")?;
            let World { vouchers, events, redemptions, .. } = world;
            events.retain(|event| vouchers.iter().any(|voucher| voucher.id == event.voucher));
            redemptions.retain(|one| vouchers.iter().any(|voucher| voucher.id == one.voucher));
            Ok(answer)
        }
        "campaign_targets" => delete_targets(world, asked),
        _ => Err(denied(table)),
    }
}

fn delete<R: Insert>(world: &mut World, asked: &Asked, effect: &str) -> Result<Response, RestError> {
    asked.query.check::<R>()?;
    let places = places(asked, R::table(world))?;
    let answer = deleted(asked, R::table(world), &places);
    let now = world.now();
    for &place in &places {
        let (_, subject) = R::table(world)[place].effect();
        world.ledger.note(now, effect, subject, true);
    }
    let mut place = 0;
    R::table(world).retain(|_| {
        place += 1;
        !places.contains(&(place - 1))
    });
    Ok(answer)
}

/// The queue's rows know their targets by place. Targets that were queued stay: here they are one thing with the queue.
fn delete_targets(world: &mut World, asked: &Asked) -> Result<Response, RestError> {
    asked.query.check::<Target>()?;
    let gone = places(asked, &world.targets)?;
    if world.queue.iter().any(|row| gone.contains(&row.target)) {
        return Err(denied("campaign_targets"));
    }
    let answer = delete::<Target>(world, asked, "campaign.target_delete")?;
    for row in &mut world.queue {
        row.target -= gone.iter().filter(|place| **place < row.target).count();
    }
    Ok(answer)
}
