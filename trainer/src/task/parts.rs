//! Both parts of a participant's data.

use super::Part;

/// What there is of each part.
pub(super) struct Parts<T> {
    training: T,
    test: T,
}

impl<T> Parts<T> {
    /// Makes both of the same kind of thing.
    pub(super) fn of<D>(training: &D, test: &D, make: impl Fn(&D) -> T) -> Self {
        Self {
            training: make(training),
            test: make(test),
        }
    }

    /// Returns one of them.
    pub(super) fn get(&self, part: Part) -> &T {
        match part {
            Part::Training => &self.training,
            Part::Test => &self.test,
        }
    }
}
