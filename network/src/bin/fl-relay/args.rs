//! The command line as typed, and the configuration that comes out of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fl_network::client::host_of;
use fl_network::program::choices::RoundChoices;
use fl_network::program::config;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::relay::{Settings, SettingsError};
use serde::Deserialize;

/// The relay of a secure federated-learning consortium.
///
/// It carries the nodes' shares, which are sealed so that it cannot open them, adds up masked sums,
/// and publishes the average. What it learns are sums over all participants, and who they are.
#[derive(Debug, Parser)]
#[command(name = "fl-relay", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the rounds of one consortium
    Serve(Serve),
}

/// Flags of `serve`, which may also stand in a TOML file. A flag wins over the file, the file over
/// the default.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Serve {
    /// Folder `relay` that `fl-node provision` made
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// Address and UDP port to listen on [default: 0.0.0.0 and the port in the manifest]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Rounds to complete, those before a restart included [default: 10]
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Fraction of the available nodes, or of the manifest's cohorts, that take part in a round,
    /// above 0 and up to 1 [default: 1.0]
    #[arg(long, value_name = "FRACTION")]
    fraction_fit: Option<f64>,
    /// Least number of participants of a round, not under the manifest's [default: the manifest's]
    #[arg(long, value_name = "N")]
    min_nodes: Option<usize>,
    /// End before --rounds once the model's mean loss on what all nodes hold back has not been
    /// lower for so many rounds
    #[arg(long, value_name = "ROUNDS")]
    patience: Option<u64>,
    /// Folder for the global model and the state between restarts, outside the kit [default:
    /// relay-ID in ~/.local/state/smpc-fl, where ID is the beginning of the consortium's id]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Show the progress on a web page at this address and TCP port, without a password
    #[arg(long, value_name = "ADDRESS:PORT")]
    dashboard: Option<SocketAddr>,
    /// Print one JSON object for each completed round on standard output
    #[arg(long)]
    json: bool,
    /// TOML file with the same settings, named with underscores (`fraction_fit = 0.5`)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// What `serve` runs with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) kit: PathBuf,
    pub(crate) listen: Option<SocketAddr>,
    choices: RoundChoices,
    pub(crate) state: Option<PathBuf>,
    pub(crate) dashboard: Option<SocketAddr>,
    pub(crate) json: bool,
}

impl TryFrom<Serve> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Serve) -> anyhow::Result<Self> {
        let file: Serve = config::read(args.config.as_deref())?;
        let kit = args
            .kit
            .or(file.kit)
            .context("--kit DIR is missing: the folder of the relay's kit")?;
        Ok(Self {
            listen: args.listen.or(file.listen),
            choices: RoundChoices {
                rounds: args.rounds.or(file.rounds),
                fraction_fit: args.fraction_fit.or(file.fraction_fit),
                min_nodes: args.min_nodes.or(file.min_nodes),
                patience: args.patience.or(file.patience),
            },
            state: args.state.or(file.state),
            dashboard: args.dashboard.or(file.dashboard),
            json: args.json || file.json,
            kit,
        })
    }
}

impl Config {
    /// Returns where to listen: on all addresses and the manifest's port unless told otherwise.
    pub(crate) fn listen(&self, manifest: &Manifest) -> anyhow::Result<SocketAddr> {
        if let Some(address) = self.listen {
            return Ok(address);
        }
        let address = manifest.relay_address();
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let port: u16 = port.context("the manifest's relay address has no port; use --listen")?;
        let all: IpAddr = match host_of(address).is_ok_and(|host| host.parse::<Ipv6Addr>().is_ok())
        {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => Ipv4Addr::UNSPECIFIED.into(),
        };
        Ok(SocketAddr::new(all, port))
    }

    /// The operator's choices, checked against the manifest.
    pub(crate) fn settings(&self, manifest: &Manifest) -> Result<Settings, SettingsError> {
        let (least, all) = (manifest.min_nodes(), manifest.roster().len());
        let settings = self.choices.settings(least..=all)?;
        let everyone = manifest.participation().cohorts().len() == 1;
        match everyone && settings.fraction_fit() < 1.0 {
            true => Err(SettingsError::Everyone(settings.fraction_fit())),
            false => Ok(settings),
        }
    }
}
