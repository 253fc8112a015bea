//! The sources and the documents themselves.

mod dependencies;
mod security;
