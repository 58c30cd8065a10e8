//! Made-up voucher events, the same for a seed: mostly redemptions, about a thousand doubles and a thousand replays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use jiff::Timestamp;
use uuid::Uuid;

/// Every so many events is no redemption.
const SENT_EVERY: u64 = 16;
const STATIONS: u64 = 200;

/// What is wrong with a voucher, as the generator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Replay,
    Double,
}

/// The events and the truth about them.
pub(crate) struct Events {
    seed: u64,
    count: u64,
    /// Rows that repeat an earlier row.
    repeats: BTreeMap<u64, (u64, Kind)>,
}

impl Events {
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        let mut events = Self { seed, count, repeats: BTreeMap::new() };
        let wanted = (count / 10).min(1_000);
        let rows: BTreeSet<u64> = (0..2 * wanted).map(|draw| events.random(1, draw) % count).collect();
        for (draw, row) in rows.iter().copied().enumerate().filter(|(_, row)| row % SENT_EVERY != 0) {
            let earlier = events.random(2, row) % row;
            let is_usual = !earlier.is_multiple_of(SENT_EVERY) && !rows.contains(&earlier);
            if is_usual {
                let kind = if draw % 2 == 0 { Kind::Double } else { Kind::Replay };
                events.repeats.insert(row, (earlier, kind));
            }
        }
        events
    }

    /// Which vouchers are repeated, and how. A voucher that is both is a double.
    pub(crate) fn truth(&self) -> BTreeMap<Uuid, Kind> {
        let mut truth = BTreeMap::new();
        for (earlier, kind) in self.repeats.values() {
            let known = truth.entry(self.uuid(3, *earlier)).or_insert(*kind);
            *known = (*known).max(*kind);
        }
        truth
    }

    /// Writes them as Postgres exports them: `COPY ... CSV HEADER`, and `row_to_json` a line.
    pub(crate) fn write(&self, csv: &mut impl Write, ndjson: &mut impl Write) -> io::Result<()> {
        writeln!(csv, "id,voucher_id,event_type,station_id,created_at,idempotency_key")?;
        for row in 0..self.count {
            let (of, same_key) = match self.repeats.get(&row) {
                Some((earlier, kind)) => (*earlier, *kind == Kind::Replay),
                None => (row, false),
            };
            let (id, voucher) = (self.uuid(4, row), self.uuid(3, of));
            let station = self.uuid(5, self.random(6, row) % STATIONS);
            let event = if row % SENT_EVERY == 0 { "sent" } else { "redeemed" };
            let key = format!("{:024X}", self.uuid(7, if same_key { of } else { row }).as_u128() >> 32);
            let micros = 1_760_000_000_000_000 + row as i64 * 2_345_678;
            let at = Timestamp::from_microsecond(micros).map_err(io::Error::other)?;
            let text = format!("{at:.6}");
            let (date, clock) = (&text[..10], &text[11..26]);
            writeln!(csv, "{id},{voucher},{event},{station},{date} {clock}+00,{key}")?;
            writeln!(
                ndjson,
                r#"{{"id":"{id}","voucher_id":"{voucher}","event_type":"{event}","station_id":"{station}","created_at":"{date}T{clock}+00:00","idempotency_key":"{key}"}}"#
            )?;
        }
        Ok(())
    }

    /// A random UUID (version 4) for a purpose and a number.
    fn uuid(&self, purpose: u64, number: u64) -> Uuid {
        let bits = u64::to_be_bytes;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&bits(self.random(purpose, 2 * number)));
        bytes[8..].copy_from_slice(&bits(self.random(purpose, 2 * number + 1)));
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// SplitMix64 of the seed, a purpose and a number.
    fn random(&self, purpose: u64, number: u64) -> u64 {
        let mut state = self.seed ^ purpose << 56;
        state = state.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }
}
