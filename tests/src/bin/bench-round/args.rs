//! The command line as typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use fl_datasets::Source;
use fl_trainer::Sharing;

use crate::mode::Mode;

/// Time rounds without training, the same without masks, and bare averaging beside them: relay and
/// nodes are processes on this machine
#[derive(Debug, Parser)]
#[command(
    name = "bench-round",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) bench: BenchRound,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One party of a bench
    #[command(hide = true)]
    Party(BenchParty),
}

/// Flags of the bench.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchRound {
    /// Number of nodes, at least 3
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Number of parameters of the model
    #[arg(long, value_name = "M", default_value_t = 1_000_000)]
    pub(crate) params: usize,
    /// Train on this data in every round, as `fl-node simulate` does by default: digits,
    /// breast-cancer, or a path. Without it an update is there at once
    #[arg(long, value_name = "DATA", conflicts_with = "params")]
    pub(crate) data: Option<Source>,
    /// How updates are shared: peer, or committee:K,t for a committee of the first K nodes with
    /// threshold t
    #[arg(long, value_name = "SCHEME", default_value = "peer")]
    pub(crate) scheme: Sharing,
    /// Number of rounds of each kind
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the bench starts.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchParty {
    /// The party's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) kit: PathBuf,
    /// Where the relay is; the party is the relay itself if this is missing
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) relay: Option<SocketAddr>,
    /// How its federation averages
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Mode,
    /// What a node trains on
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<Source>,
}
