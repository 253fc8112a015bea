//! A node's two parts in an attempt with a committee. A holder may contribute as well.

mod contributor;
mod holder;

pub(in crate::round) use contributor::Contributor;
pub(in crate::round) use holder::Holder;
