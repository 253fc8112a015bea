//! Whole rounds under virtual time, and attacks on each side.

mod audit;
mod chaos;
mod failures;
pub(in crate::round) mod federation;
mod forged_logs;
mod hostile_nodes;
mod hostile_relay;
mod hostile_results;
mod recovering;
mod rounds;
pub(in crate::round) mod site;
mod taken_back;
mod victim;
