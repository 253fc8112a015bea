//! What a party sees of the others, and where keys are written.

mod holders;
mod keys;
mod relay;
