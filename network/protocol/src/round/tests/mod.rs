//! Whole rounds under virtual time, and attacks on each side.

mod accusations;
mod audit;
pub(in crate::round) mod chaos;
mod clocks;
mod commitments;
mod failures;
mod forged_logs;
mod histories;
mod hostile_nodes;
mod hostile_relay;
mod hostile_results;
mod lifetime;
mod node_fixture;
mod participation;
mod recovering;
mod rounds;
mod taken_back;
