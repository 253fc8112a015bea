//! Whole rounds under virtual time, and attacks on each side.

mod audit;
mod chaos;
mod failures;
mod federation;
mod hostile_nodes;
mod hostile_relay;
mod hostile_results;
mod rounds;
mod site;
mod victim;
