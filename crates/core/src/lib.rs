//! Domain types and ports of Allclear: what a voucher, a campaign, a target and an incident are, and the
//! traits behind which every outside service sits. No I/O happens here.
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | [`campaign`], [`target`], [`voucher`], [`notification`], [`station`], [`incident`] | the domain |
//! | [`delivery`] | how far a message has come |
//! | [`redemption`] | which vouchers were redeemed more than once, among millions of rows |
//! | [`policy`] | quiet hours, throttle, and when sending is safe |
//! | [`recovery`] | backups, restores, and who takes part in the exercise |
//! | [`redeem`], [`function`] | what stations tried, and edge functions with what they render |
//! | [`project`] | whether the project that all this runs in is up |
//! | [`queue_rows`] | which rows of the dispatcher's queue, told by their ids |
//! | [`secrets`] | takes out of foreign words what nobody may read in them |
//! | [`phone`], [`money`] | values that protect themselves: numbers mask, amounts carry their unit |
//! | [`send_fault`] | WhatsApp's error codes as data: what each means and what to do |
//! | [`error`] | what a failed call means for the caller |
//! | [`ports`] | the traits, cut by what a procedure needs |
//! | [`platform`] | all ports of one environment, in one struct |
//! | [`clock`] | the only way time comes in |
//!
//! # Example
//!
//! ```
//! use allclear_core::{Msisdn, policy::QuietHours};
//!
//! let number: Msisdn = "+250788123012".parse().unwrap();
//! assert_eq!(number.to_string(), "+250 78* *** 012");
//!
//! let quiet = QuietHours::parse("22:00", "06:00").unwrap();
//! assert!(quiet.contains("23:30".parse().unwrap()));
//! ```
//!
//! What it deliberately does not do: talk to anything, retry anything, or know what a run is.

#[macro_use]
mod open_enum;

pub mod campaign;
pub mod clock;
pub mod delivery;
pub mod error;
pub mod function;
pub mod incident;
pub mod money;
pub mod notification;
pub mod owner;
pub mod phone;
pub mod platform;
pub mod policy;
pub mod ports;
pub mod project;
pub mod queue_rows;
pub mod recovery;
pub mod redeem;
pub mod redemption;
pub mod rehearsal;
pub mod secrets;
pub mod send_fault;
pub mod station;
pub mod target;
pub mod text;
pub mod times;
pub mod voucher;

pub use campaign::{Campaign, CampaignId, CampaignStatus};
pub use clock::{Clock, VirtualClock};
pub use error::{Class, PortError, Service};
pub use money::{Currency, Money};
pub use phone::Msisdn;
pub use platform::Platform;
pub use queue_rows::QueueRows;
pub use rehearsal::Rehearsal;
pub use target::{Recipient, Target, TargetId, TargetStatus};
pub use times::{HeardTimes, Observed, PlatformClock, ServiceTimes, Times};
pub use voucher::{Voucher, VoucherId, VoucherStatus};
