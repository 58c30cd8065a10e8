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

/// What an id means in each of the two tables of stations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationLookup {
    /// In `stations`, which scopes point to.
    pub station: Option<Station>,
    /// The name in `petrol_stations`, which redemptions point to.
    pub petrol_station: Option<String>,
}
