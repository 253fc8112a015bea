//! The memory in which chunks are put together: fewer buffers than uploads, where there are many.
//!
//! A chunk is only added when it is here whole and fits its hash. Who has to wait for a buffer
//! loses nothing by it: what arrives meanwhile waits in QUIC's window, which holds a chunk or more,
//! and is then read at once.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Buffers of one length.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes: usize,
    lendable: Semaphore,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// `count` buffers of `bytes`, each made when it is first needed.
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        Self {
            bytes,
            lendable: Semaphore::new(count),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Waits for a buffer; those who wait are served in turn. What is in it is left from whoever
    /// had it.
    pub(super) async fn lend(&self) -> Buffer<'_> {
        // The semaphore is never closed, and without a permit a buffer is one too many at worst.
        let permit = self.lendable.acquire().await.ok();
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Buffer {
            bytes: idle.unwrap_or_else(|| vec![0; self.bytes]),
            owner: self,
            _permit: permit,
        }
    }
}

/// A buffer that is lent until this is dropped.
#[derive(Debug)]
pub(super) struct Buffer<'a> {
    bytes: Vec<u8>,
    owner: &'a Buffers,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut idle = self
            .owner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_out_and_each_comes_back() {
        let buffers = Buffers::new(2, 3);
        let mut first = buffers.lend().await;
        first[1] = 7;
        let second = buffers.lend().await;
        assert_eq!((first.len(), second.len()), (3, 3));
        let third = timeout(Duration::from_secs(3600), buffers.lend()).await;
        assert!(third.is_err());
        drop(first);
        let third = buffers.lend().await;
        // The one that came back.
        assert_eq!(third[..], [0, 7, 0]);
        drop((second, third));
        assert_eq!(buffers.idle.lock().unwrap().len(), 2);
    }
}
