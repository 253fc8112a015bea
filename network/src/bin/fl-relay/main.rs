//! `fl-relay`: carries sealed shares that it cannot open, adds up masked sums, publishes the
//! average.

mod args;
mod console;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use fl_network::dashboard::{self, Dashboard, RelayProgress};
use fl_network::kit::Kit;
use fl_network::program::folders;
use fl_network::quic::Server;
use fl_network::report_text::ReportFormatter;
use fl_network::store::{RelayStore, RoundHistory};
use fl_network::time::unix_s;
use fl_protocol::round::relay::Report;
use tracing::{info, warn};

use args::{Args, Command, Config};

fn main() -> ExitCode {
    let args = Args::parse();
    fl_network::program::logging::init();
    fl_network::program::conceal();
    let Command::Serve(serve) = args.command;
    match Config::try_from(serve).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "error: {}",
                fl_network::program::logging::explain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let kit = Kit::load(&config.kit)
        .with_context(|| format!("the kit in {} cannot be used", config.kit.display()))?;
    anyhow::ensure!(
        kit.manifest.member(kit.id()).is_err(),
        "this is a node's kit; the relay needs the folder `relay` that `fl-node provision` made"
    );
    let stop = fl_network::program::signals::stop();
    let settings = config.settings(&kit.manifest)?;
    let state = folders::state(config.state.clone(), &kit, &config.kit)?;
    let store = RelayStore::open(&state, &kit.manifest)?;
    let (mut history, former) = RoundHistory::open(&store)?;
    let server = Server::bind(
        config.listen(&kit.manifest)?,
        kit.server_tls()?,
        kit.manifest.roster().len(),
    )?;
    let dashboard = match config.dashboard {
        None => None,
        Some(address) => {
            let rounds = settings.rounds();
            let progress = RelayProgress::new(&kit.manifest, rounds, former, unix_s());
            let opened = Dashboard::open(address, progress).await;
            Some(opened.with_context(|| format!("the dashboard cannot listen on {address}"))?)
        }
    };
    info!(
        "{}: serving {} rounds on {} for {} nodes, at least {} a round; {}",
        kit.manifest.name(),
        settings.rounds(),
        server.local_address()?,
        kit.manifest.roster().len(),
        settings.min_nodes(),
        kit.manifest.participation_in_words()
    );
    if let Some(dashboard) = &dashboard {
        let address = dashboard.address();
        info!("the dashboard is http://{address}");
        if !dashboard::is_local(address) {
            warn!("whoever reaches {address} can look at the dashboard");
        }
    }
    let (rounds, mut is_enough) = (settings.rounds(), false);
    let mut formatter = ReportFormatter::new(kit.manifest.clone());
    let report = |report: &Report| {
        is_enough |= matches!(report, Report::Plateau { .. });
        let line = formatter.tell(report);
        console::show(&line, config.json);
        if let Some(round) = &line.round
            && let Err(error) = history.append(round)
        {
            warn!("the dashboard will lack a round after a restart: {error}");
        }
        if let Some(dashboard) = &dashboard {
            dashboard.update(report, &line);
        }
    };
    let served = fl_network::relay::serve(&kit, server, store, settings, report, stop).await;
    if let Some(dashboard) = dashboard {
        dashboard.close().await;
    }
    let head = served?;
    if head.round >= rounds || is_enough {
        info!(
            "all {} rounds are done; the model is {}",
            head.round, head.model
        );
    } else {
        info!(
            "stopped after round {} of {rounds}; start again to go on",
            head.round
        );
    }
    Ok(())
}
