//! The sources and the documents themselves.

mod dependencies;
mod documents;
mod licences;
mod modules;
mod readme;
mod style;
