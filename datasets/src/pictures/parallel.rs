//! Work on many items by several threads.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use crate::Error;

/// Each thread holds a decoded picture, so many of them would need much memory.
const MAX_THREADS: usize = 8;

struct Queue<I> {
    items: I,
    /// The first item that failed, and why.
    failed: Option<(usize, Error)>,
}

/// Calls `work` on each of `items`.
///
/// # Errors
///
/// That of the first item which has one, however the threads run.
pub(crate) fn for_each<T>(
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(MAX_THREADS).min(items.len());
    let queue = Mutex::new(Queue {
        items: items.enumerate(),
        failed: None,
    });
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.failed {
            // All items before the failed one are taken, and are worked on to their ends.
            Some(_) => None,
            None => queue.items.next(),
        }
    };
    let run = || {
        while let Some((at, item)) = next() {
            if let Err(error) = work(item) {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.failed.as_ref().is_none_or(|(first, _)| at < *first) {
                    queue.failed = Some((at, error));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Fewer threads do as well.
            let _ = Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    queue.failed.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let mut squares = vec![0; 1000];
        for_each(squares.iter_mut().enumerate(), |(at, square)| {
            *square += at * at;
            Ok(())
        })
        .unwrap();
        assert!(
            squares
                .iter()
                .enumerate()
                .all(|(at, square)| *square == at * at)
        );
        for_each([0; 0].iter(), |_| Err(Error::NoNodes)).unwrap();
    }

    #[test]
    fn the_error_is_that_of_the_first_item() {
        for _ in 0..20 {
            let found = for_each(0..100_usize, |item| {
                if item == 3 {
                    thread::sleep(Duration::from_millis(2));
                }
                match item {
                    0..3 => Ok(()),
                    _ => Err(Error::TooFewToSplit(item)),
                }
            });
            assert!(matches!(found, Err(Error::TooFewToSplit(3))), "{found:?}");
        }
    }
}
