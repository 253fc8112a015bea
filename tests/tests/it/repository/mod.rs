//! The sources and the documents themselves.

mod dependencies;
mod licences;
mod modules;
mod readme;
mod security;
mod style;
