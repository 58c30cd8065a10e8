//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

mod doubles;
mod held;
mod samples;
mod scopes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::StopReason;
use allclear_core::ports::*;
use allclear_core::redeem::{
    RedeemAttempt, RedeemOutcome, Redemption, RedemptionSeen, VoucherEvent, VoucherHistory,
};
use allclear_core::station::{Station, StationId, StationLookup, StationStatus};
use allclear_core::voucher::{IssuingPath, StoredAmount};
use allclear_core::{
    Currency, Platform, PortError, Service, VirtualClock, Voucher, VoucherId, VoucherStatus,
};
use allclear_engine::{Humans, Outcome};
use jiff::Timestamp;
use uuid::Uuid;

use super::replace::replacement_of;
use super::{Input, StationRedeemAnomalies};
use crate::mocked::{self, Calls, approver};

#[derive(Default)]
struct Tables {
    vouchers: BTreeMap<VoucherId, Voucher>,
    histories: BTreeMap<VoucherId, VoucherHistory>,
    attempts: Vec<RedeemAttempt>,
    /// A right that is missing: each write is refused.
    denied: bool,
    /// The replacement of this one breaks a rule of the table.
    breaks_a_rule: Option<VoucherId>,
    /// Another run takes what is held in the last moment, by this name.
    snatched_by: Option<&'static str>,
    /// Somebody edits this one right before its scope is written.
    edited: Option<VoucherId>,
}

impl Tables {
    fn allowed(&self) -> Result<(), PortError> {
        let (service, call) = (Service::Supabase, "POST /rest/v1/vouchers".to_owned());
        let detail = "42501: permission denied for table vouchers".to_owned();
        let reason = StopReason::Permission;
        if self.denied { Err(PortError::Stopped { service, call, reason, detail }) } else { Ok(()) }
    }
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    tables: Arc<Mutex<Tables>>,
}

fn start() -> Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn id(n: u128) -> VoucherId {
    VoucherId(Uuid::from_u128(n))
}

/// `Station n` has this id in `stations`, and another one in `petrol_stations`.
fn station(n: u128) -> StationId {
    StationId(Uuid::from_u128(100 + n))
}

fn petrol(n: u128) -> Uuid {
    Uuid::from_u128(200 + n)
}

fn voucher(n: u128, status: VoucherStatus) -> Voucher {
    let path = IssuingPath::WhatsApp;
    Voucher {
        id: id(n),
        status,
        amount: StoredAmount {
            amount_minor: 2_000,
            amount_hundredths: Some(2_000),
            currency: Currency::Rwf,
            path,
        },
        msisdn: "+250788123456".parse().unwrap(),
        campaign: None,
        station_scope: None,
        redeemed_at: None,
        expires_at: None,
        updated_at: start() - Duration::from_mins(50),
        replaces: None,
        replaced_by: None,
        held_by: None,
    }
}

fn world() -> World {
    World { clock: Arc::new(VirtualClock::at(start())), calls: Calls::default(), tables: Arc::default() }
}

impl World {
    /// A voucher that was redeemed with these idempotency keys.
    fn redeemed(self, voucher: Voucher, keys: &[&str]) -> Self {
        let times: Vec<_> = keys.iter().enumerate().map(|(n, key)| (n as u128, *key, 50)).collect();
        self.redeemed_at(voucher, &times)
    }

    /// A voucher that was redeemed at these stations, with these keys, so many minutes ago.
    fn redeemed_at(self, voucher: Voucher, times: &[(u128, &str, u64)]) -> Self {
        let redemption = |(n, (station, key, minutes)): (usize, &(u128, &str, u64))| Redemption {
            id: Uuid::new_v5(&voucher.id.0, format!("{n}").as_bytes()),
            station: Some(petrol(*station)),
            key: Some((*key).to_owned()),
            at: start() - Duration::from_mins(*minutes),
        };
        let history = VoucherHistory {
            events: vec![],
            redemptions: times.iter().enumerate().map(redemption).collect(),
        };
        let mut tables = self.tables.lock().unwrap();
        tables.histories.insert(voucher.id, history);
        tables.vouchers.insert(voucher.id, voucher);
        drop(tables);
        self
    }

    /// A voucher that was redeemed twice, and what an ended run left of its replacement.
    fn begun(self, original: Voucher, replacement: Voucher) -> Self {
        let replacement =
            Voucher { id: replacement_of(original.id), replaces: Some(original.id), ..replacement };
        self.tables.lock().unwrap().vouchers.insert(replacement.id, replacement);
        self.redeemed(original, &["a", "b"])
    }

    /// At most one replacement of each voucher, and never both of them to be redeemed.
    fn assert_never_two(&self) {
        let tables = self.tables.lock().unwrap();
        for original in tables.vouchers.values().filter(|one| one.replaces.is_none()) {
            let all: Vec<_> =
                tables.vouchers.values().filter(|one| one.replaces == Some(original.id)).collect();
            let usable = |one: &&&Voucher| one.status != VoucherStatus::Void;
            assert!(all.len() <= 1, "{all:?}");
            assert!(
                usize::from(usable(&&original)) + all.iter().filter(usable).count() <= 1,
                "{original:?}, {all:?}"
            );
        }
    }

    /// A voucher that Station 1 refused.
    fn refused(self, voucher: Voucher, outcome: RedeemOutcome, key: &str) -> Self {
        let mut tables = self.tables.lock().unwrap();
        let attempt = RedeemAttempt {
            id: tables.attempts.len() as i64 + 1,
            voucher: Some(voucher.id),
            station: Some(station(1).0),
            key: Some(key.to_owned()),
            outcome,
            at: start() - Duration::from_mins(30),
        };
        tables.attempts.push(attempt);
        tables.vouchers.insert(voucher.id, voucher);
        drop(tables);
        self
    }

    /// A `redeemed` event more, without a redemption.
    fn with_event(self, of: VoucherId) -> Self {
        let mut tables = self.tables.lock().unwrap();
        let history = tables.histories.entry(of).or_default();
        let id = Uuid::from_u128(900 + history.events.len() as u128);
        history.events.push(VoucherEvent { id, kind: "redeemed".to_owned(), station: None, at: start() });
        drop(tables);
        self
    }

    /// An attempt with a code that is no voucher's, and what the station was told.
    fn of_nobody(self, outcome: RedeemOutcome) -> Self {
        let world = self.attempted();
        world.tables.lock().unwrap().attempts.last_mut().unwrap().outcome = outcome;
        world
    }

    /// An attempt of a station that nothing is wrong with.
    fn attempted(self) -> Self {
        let mut tables = self.tables.lock().unwrap();
        let attempt = RedeemAttempt {
            id: tables.attempts.len() as i64 + 1,
            voucher: None,
            station: Some(station(1).0),
            key: None,
            outcome: RedeemOutcome::NotFound,
            at: start() - Duration::from_mins(30),
        };
        tables.attempts.push(attempt);
        drop(tables);
        self
    }

    fn redemption_log(&self) -> MockRedemptionLog {
        let mut mock = MockRedemptionLog::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_redemptions().returning(move |since, after, _| {
            if after.is_some() {
                return Ok(vec![]);
            }
            let tables = tables.lock().unwrap();
            let seen = tables.histories.iter().flat_map(|(voucher, history)| {
                let inside = history.redemptions.iter().filter(|one| one.at >= since);
                inside.map(|one| RedemptionSeen { id: one.id, voucher: *voucher })
            });
            Ok(seen.collect())
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_redeemed_before().returning(move |vouchers, before| {
            let tables = tables.lock().unwrap();
            let earlier = |voucher: &&VoucherId| {
                tables
                    .histories
                    .get(voucher)
                    .is_some_and(|it| it.redemptions.iter().any(|one| one.at < before))
            };
            Ok(vouchers.iter().filter(earlier).copied().collect())
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_attempts().returning(move |_, after, _| {
            Ok(if after.is_some() { vec![] } else { tables.lock().unwrap().attempts.clone() })
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_history().returning(move |voucher| {
            Ok(tables.lock().unwrap().histories.get(&voucher).cloned().unwrap_or_default())
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_add_event().returning(move |event| {
            let added = VoucherEvent { id: event.id, kind: event.kind.clone(), station: None, at: start() };
            tables.lock().unwrap().histories.entry(event.voucher).or_default().events.push(added);
            Ok(())
        });
        mock
    }

    fn vouchers(&self) -> MockVouchers {
        let mut mock = MockVouchers::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_find().returning(move |voucher| {
            let missing =
                || PortError::NotFound { service: Service::Supabase, what: format!("voucher {voucher}") };
            tables.lock().unwrap().vouchers.get(&voucher).cloned().ok_or_else(missing)
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_set_scope().returning(move |voucher, _, scope| {
            if tables.lock().unwrap().edited == Some(voucher) {
                return Ok(0);
            }
            calls.note("scope");
            tables.lock().unwrap().vouchers.get_mut(&voucher).unwrap().station_scope = Some(scope);
            Ok(1)
        });
        mock
    }

    fn replacements(&self) -> MockReplacements {
        let mut mock = MockReplacements::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_of().returning(move |original| {
            let tables = tables.lock().unwrap();
            Ok(tables
                .vouchers
                .values()
                .filter(|voucher| voucher.replaces == Some(original))
                .cloned()
                .collect())
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_reserve().returning(move |new| {
            calls.note("hold");
            tables.lock().unwrap().allowed()?;
            if tables.lock().unwrap().breaks_a_rule == Some(new.original) {
                return Err(PortError::Rejected {
                    service: Service::Supabase,
                    call: "POST /rest/v1/vouchers".to_owned(),
                    code: Some("23503".to_owned()),
                    detail: "it points to a row that is not there".to_owned(),
                });
            }
            let held = Voucher {
                id: new.id,
                status: VoucherStatus::Void,
                replaces: Some(new.original),
                held_by: Some(new.held_by.clone()),
                amount: new.amount.clone(),
                expires_at: new.expires_at,
                ..voucher(0, VoucherStatus::Void)
            };
            tables.lock().unwrap().vouchers.entry(new.id).or_insert(held);
            Ok(())
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_adopt().returning(move |replacement, from, to| {
            calls.note("take over");
            let mut tables = tables.lock().unwrap();
            tables.allowed()?;
            let snatched_by = tables.snatched_by.map(str::to_owned);
            let row = tables.vouchers.get_mut(&replacement).unwrap();
            row.held_by = snatched_by.or_else(|| row.held_by.take());
            if row.status != VoucherStatus::Void || row.held_by.as_deref() != Some(from) {
                return Ok(0);
            }
            row.held_by = Some(to.to_owned());
            Ok(1)
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_void_original().returning(move |original, seen, replacement| {
            calls.note("void");
            let mut tables = tables.lock().unwrap();
            let row = tables.vouchers.get_mut(&original).unwrap();
            assert_eq!(row.as_seen(), *seen, "the expected state goes with the request");
            (row.status, row.replaced_by) = (VoucherStatus::Void, Some(replacement));
            Ok(1)
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_release().returning(move |replacement, held_by| {
            calls.note("release");
            let mut tables = tables.lock().unwrap();
            let row = tables.vouchers.get_mut(&replacement).unwrap();
            if row.held_by.as_deref() != Some(held_by) {
                return Ok(0);
            }
            (row.status, row.held_by) = (VoucherStatus::Issued, None);
            Ok(1)
        });
        mock
    }

    fn stations() -> MockStations {
        let mut mock = MockStations::new();
        let known =
            |n: u128| Station { id: station(n), name: format!("Station {n}"), status: StationStatus::Active };
        mock.expect_look_up().returning(move |wanted| {
            let found = (1..=2).find(|n| station(*n).0 == wanted).map(known);
            let petrol_station = (1..=2).find(|n| petrol(*n) == wanted).map(|n| format!("Station {n}"));
            Ok(StationLookup { station: found, petrol_station })
        });
        mock.expect_named()
            .returning(move |name| Ok((1..=2).map(known).filter(|one| one.name == name).collect()));
        mock
    }

    async fn run(&self) -> (Outcome, String) {
        self.run_with(Input::default(), MockRedemptionExports::new()).await
    }

    async fn run_with(&self, input: Input, exports: MockRedemptionExports) -> (Outcome, String) {
        self.run_before(input, exports, approver()).await
    }

    async fn run_before(
        &self,
        input: Input,
        exports: MockRedemptionExports,
        humans: Arc<dyn Humans>,
    ) -> (Outcome, String) {
        let on = Platform {
            redemptions: Arc::new(self.redemption_log()),
            redemption_exports: Arc::new(exports),
            vouchers: Arc::new(self.vouchers()),
            replacements: Arc::new(self.replacements()),
            stations: Arc::new(Self::stations()),
            chat: Arc::new(mocked::chat(&self.calls)),
            audit: Arc::new(mocked::audit(&self.calls)),
            ..mocked::platform()
        };
        let runbook = StationRedeemAnomalies { on, input };
        let finished = mocked::run(&runbook, Arc::clone(&self.clock), humans).await;
        (finished.outcome, finished.says)
    }
}
