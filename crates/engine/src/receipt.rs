//! Receipts and the journal. What a procedure goes on with is always read from the bytes that the journal keeps, also right
//! after the effect was applied: so a replay gives it the same, whatever the receipt's type is.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a receipt as a replay would: from its text.
pub(crate) fn read_back<R: DeserializeOwned>(kept: &Value) -> Result<R, serde_json::Error> {
    serde_json::from_str(&kept.to_string())
}

/// Why a receipt would not survive in the journal. Asked before anything is sent: afterwards it is too late.
pub(crate) fn survives<R: Serialize + DeserializeOwned>(receipt: &R) -> Result<(), String> {
    let kept = serde_json::to_value(receipt).map_err(|error| format!("it cannot be written: {error}"))?;
    let back: R = read_back(&kept).map_err(|error| format!("{kept} cannot be read: {error}"))?;
    match serde_json::to_value(&back) {
        Ok(again) if again == kept => Ok(()),
        Ok(again) => Err(format!("{kept} is {again} when it is read back")),
        Err(error) => Err(format!("what was read back cannot be written: {error}")),
    }
}
