//! What users see of the programs.

mod audit_log;
mod bench_round;
mod cli;
mod dashboard;
mod deployment;
mod fingerprints;
mod gpu;
mod simulate;
mod tables;
