//! The sources and the documents themselves.

mod dependencies;
mod modules;
mod readme;
mod security;
