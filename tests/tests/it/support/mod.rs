//! What tests of several subjects need beside the harnesses of `fl_tests`.

pub(crate) mod consortium;
pub(crate) mod federation;
pub(crate) mod lies;
