//! Processes, networks, disks and memory that fail in the middle of a run.

mod committee;
mod full_disk;
mod memory;
mod network;
mod node;
