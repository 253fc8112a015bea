//! What users see of the programs.

mod audit_log;
mod bench_round;
mod cli;
mod dashboard;
mod deployment;
mod gpu;
mod simulate;
