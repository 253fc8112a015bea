//! Rounds of the real state machines, and the vectors that others made.

mod average;
mod forgery;
mod tampering;
mod vectors;
