//! The database: where it is and what it may be used for, its backup, restore and parity.
