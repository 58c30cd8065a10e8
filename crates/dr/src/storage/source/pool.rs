//! Buffers for pieces of large objects, used again and again.
//!
//! A fresh 8 MiB buffer costs two thousand page faults, which is more than reading into it does.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(in crate::storage) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A buffer of at least this capacity, with old bytes in it.
    pub(super) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.truncate(capacity);
        buffer.reserve_exact(capacity - buffer.len());
        buffer
    }

    /// The buffer as bytes, which give it back when the last of them is dropped.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What lies here is not counted by the budget of bytes.
        if free.len() < 4 {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}
