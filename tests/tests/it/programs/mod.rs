//! What users see of the programs when all goes well.

mod audit_log;
mod bench_round;
mod cli;
mod dashboard;
mod deployment;
mod gpu;
mod simulate;
