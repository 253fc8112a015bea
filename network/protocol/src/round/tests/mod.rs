//! Whole rounds under virtual time, and attacks on each side.

mod audit;
mod chaos;
mod failures;
mod forged_logs;
mod hostile_nodes;
mod hostile_relay;
mod hostile_results;
mod recovering;
mod rounds;
mod taken_back;
mod victim;
