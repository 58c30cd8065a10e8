//! Money as an integer of one unit and its currency.
//!
//! The platform stores `amount_minor = 2000` for RWF 2,000 in one flow and `amount = 2000` in another, with a
//! trigger that divides by 100 between the two columns. So an amount here always says which unit it counts.

use std::fmt;

use serde::{Deserialize, Serialize};

open_enum! {
    /// An ISO 4217 currency code.
    Currency {
        /// Rwandan franc; it has no minor unit in practice.
        Rwf = "RWF",
        /// US dollar.
        Usd = "USD",
    }
}

impl Currency {
    /// How many minor units make one of this currency: 1 where none is used.
    pub fn minor_per_unit(&self) -> i64 {
        match self {
            Self::Rwf => 1,
            Self::Usd | Self::Other(_) => 100,
        }
    }
}

/// An amount in the currency's smallest used unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Count of the smallest used unit (whole francs for RWF, cents for USD).
    pub minor: i64,
    /// Which currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = self.currency.minor_per_unit();
        if per == 1 {
            return write!(f, "{} {}", self.currency, self.minor);
        }
        let sign = if self.minor < 0 { "-" } else { "" };
        let minor = self.minor.unsigned_abs();
        let per = per.unsigned_abs();
        write!(f, "{} {sign}{}.{:02}", self.currency, minor / per, minor % per)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn francs_have_no_cents_and_dollars_do() {
        assert_eq!(Money { minor: 2000, currency: Currency::Rwf }.to_string(), "RWF 2000");
        assert_eq!(Money { minor: -1999, currency: Currency::Usd }.to_string(), "USD -19.99");
    }
}
