//! Stations: the places that redeem vouchers.

use serde::{Deserialize, Serialize};

uuid_id! {
    /// Identifies a station of the `stations` table. `petrol_stations` has ids of its own; comparing the two is
    /// a category error and a known source of scope mismatches.
    StationId, "station id"
}

open_enum! {
    /// Whether a station takes part.
    StationStatus {
        /// It redeems.
        Active = "active",
        /// It does not.
        Inactive = "inactive",
    }
}

/// One station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Station {
    /// Which one.
    pub id: StationId,
    /// Its name.
    pub name: String,
    /// Whether it takes part.
    pub status: StationStatus,
}
