//! The sources and the documents themselves.

mod dependencies;
mod readme;
mod security;
