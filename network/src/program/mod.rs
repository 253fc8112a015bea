//! What the programs have in common: settings, logging, signals.

pub mod choices;
pub mod config;
pub mod logging;
pub mod signals;
