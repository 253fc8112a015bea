//! Bad data, bad settings, bad folders: each ends in an error that says what is wrong, and none in a
//! panic.

mod certificates;
mod node;
