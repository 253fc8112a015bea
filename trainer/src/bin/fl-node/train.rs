//! `fl-node train`.

use fl_network::report_text::conviction_text;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fl_network::client::check_dialable;
use fl_network::kit::Kit;
use fl_network::program::logging::explain;
use fl_network::program::{config, folders};
use fl_network::run_report::Parties;
use fl_network::store::{NodeStore, Reconciled, SentRecord};
use fl_protocol::manifest::Manifest;
use fl_trainer::data_digest;
use fl_trainer::node::{NodeEvent, Participant};
use tokio::sync::Semaphore;

use super::args::Train;
use super::console::Console;
use super::devices;
use super::output::{Output, RoundLine};
use super::task::TaskTable;

/// What keeps the node from its relay is said again after this time, if it stays the same.
const REMINDER: Duration = Duration::from_secs(60);

pub(crate) fn run(args: Train) -> anyhow::Result<()> {
    let file = config::read(args.config.as_deref())?;
    let args: Train = args.or(file);
    let folder = args
        .kit
        .context("--kit DIR is missing: this node's folder, made by `fl-node provision`")?;
    let source = args
        .data
        .context("--data SOURCE is missing: this node's data")?;
    let kit = Kit::load(&folder)
        .with_context(|| format!("the kit in {} cannot be used", folder.display()))?;
    kit.node_identity()?;
    if let Some(relay) = &args.relay {
        check_dialable(relay).context("--relay")?;
    }
    let task = TaskTable::from_table(kit.task()?)?;
    let console = Console::new(0, args.json);
    let note = |text: &str| console.note(text);
    let split = task.load(&source, &args.held_back, args.label, note)?;
    let parties = Parties::of(&kit.manifest, kit.id());
    let out = args.out.unwrap_or_else(|| PathBuf::from("smpcfl-out"));
    let mut output = Output::open(out, parties)?;
    let state = folders::state(args.state, &kit, &folder)?;
    let record = folders::record(args.record, &folder)?;
    let (record, given_away) = SentRecord::open(
        &record,
        &kit.manifest,
        kit.id(),
        data_digest(&split),
        args.accept_differences,
    )?;
    let store = NodeStore::open(&state, &kit.manifest, record)?;
    if let Some(difference) = given_away {
        console.note(&format!("accepted: {difference}"));
    }
    console.note(&format!(
        "{} of {}: {} training and {} test examples from {source}; relay {}",
        kit.manifest.name_of(kit.id()),
        kit.manifest.name(),
        split.train.len(),
        split.test.len(),
        args.relay
            .as_deref()
            .unwrap_or(kit.manifest.relay_address())
    ));
    for line in kit.to_compare()? {
        console.note(&line);
    }
    console
        .note("these digits and names must be the same at every node: compare them by telephone");
    console.note(&kit.manifest.participation_in_words());
    let compute = devices::open(args.gpu, |text| console.note(text))?;
    let engine = compute.engine();
    let trainer = task
        .model
        .trainer(split.train, split.test, task.training, compute)?;
    let manifest = kit.manifest.clone();
    let participant = Participant {
        kit,
        store,
        trainer,
        engine,
        relay: args.relay,
        training: Arc::new(Semaphore::new(1)),
    };
    let mut trouble = Trouble::default();
    let observe = |event| observe(&console, &manifest, (&mut output, &mut trouble), event);
    let runtime = tokio::runtime::Runtime::new()?;
    let run = async {
        participant
            .run(observe, fl_network::program::signals::stop())
            .await
    };
    let ended = runtime.block_on(run)?;
    let written = output.write(&task.model, &ended);
    let round = ended.round;
    let finished = match ended.finished {
        Ok(finished) => finished,
        Err(error) => {
            match written {
                Ok(Some(written)) => console.note(&format!(
                    "the model so far, of round {round}, is in {}",
                    written.model.display()
                )),
                Ok(None) => {}
                Err(error) => console.note(&explain(error.as_ref())),
            }
            return Err(error.into());
        }
    };
    console.finish(&match written? {
        Some(written) if finished => {
            format!("all {round} rounds are done; the model is in {written}")
        }
        Some(written) => format!(
            "stopped after round {round}; start again to go on; the model so far is in {written}"
        ),
        None => "stopped before the first round was done; start again to go on".to_owned(),
    });
    Ok(())
}

fn observe(
    console: &Console,
    manifest: &Manifest,
    (output, trouble): (&mut Output, &mut Trouble),
    event: NodeEvent,
) {
    match event {
        NodeEvent::Connected => {
            *trouble = Trouble::default();
            console.note("connected to the relay");
        }
        NodeEvent::Disconnected { reason, retry_in } => {
            if trouble.is_news(&reason, Instant::now()) {
                console.note(&format!(
                    "no connection to the relay: {reason}; trying again in {:.1} s",
                    retry_in.as_secs_f64()
                ));
            }
        }
        NodeEvent::Resumed { round } => console.note(&format!(
            "the masked sum of round {round} is still in the outbox; it is sent again as it was"
        )),
        NodeEvent::OutboxLost { reason } => {
            console.note(&format!(
                "the outbox cannot be used, and is left aside: {reason}"
            ));
        }
        NodeEvent::Reconciled(Reconciled { rebuilt, missing }) => {
            if rebuilt > 0 {
                console.note(&format!(
                    "the record lacked {rebuilt} sums that this node's log tells of; they are on record again"
                ));
            }
            if missing > 0 {
                console.note(&format!(
                    "this node's state was emptied, or is an older one: {missing} sums are on record that its log \
                     does not tell of. It goes on, since the record has them; keep other copies of the log for \
                     whoever checks it"
                ));
            }
        }
        NodeEvent::Training {
            round,
            attempt,
            deadline,
        } => console.note(&format!(
            "round {round}: training, attempt {attempt}; the others wait up to {} s",
            deadline.as_secs()
        )),
        NodeEvent::Progress { round, progress } => console.status(format!(
            "round {round}: training, step {} of {}",
            progress.step, progress.steps
        )),
        NodeEvent::Shortened { round, norm, limit } => console.note(&format!(
            "round {round}: this node's update has the length {norm:.3} (L2); it is shortened to the {limit} that the \
             consortium agreed on"
        )),
        NodeEvent::Curtailed { round } => console.note(&format!(
            "round {round}: the agreed {} s for training are not enough for this node's figure in \
             the manifest, so the relay can tell about how many examples it has from how long it \
             trains; a consortium with a larger --training-s or a smaller figure hides that",
            manifest.timeouts().training_s
        )),
        NodeEvent::Trained { round } => console.status(format!("round {round}: sharing")),
        // It may leave now.
        NodeEvent::Received { round } => console.note(&format!(
            "round {round}: the relay has this node's contribution"
        )),
        NodeEvent::Waiting { missing, since } => console.note(&format!(
            "the relay waits for {}, for {} s now",
            manifest.names_of(&missing),
            since.as_secs()
        )),
        NodeEvent::Failed { reason } => console.note(&reason),
        NodeEvent::Refused(refusal) => {
            console.note(&format!("refused: {}", manifest.with_names(refusal)));
        }
        NodeEvent::Convicted(conviction) => {
            console.note(&conviction_text(manifest, &conviction));
        }
        NodeEvent::ModelSent { round } => {
            console.note(&format!("the relay takes over the model of round {round}"));
        }
        NodeEvent::CaughtUp { round } => {
            console.note(&format!("took over the certified model of round {round}"));
        }
        NodeEvent::Round(report) => {
            let line = RoundLine::new(&report);
            if let Err(error) = console.round(&line) {
                console.note(&format!("a round cannot be printed: {error}"));
            }
            if let Err(error) = output.round(line, &report) {
                console.note(&explain(error.as_ref()));
            }
        }
    }
}

/// What keeps the node from its relay, which it may do for as long as nobody mends it.
#[derive(Default)]
struct Trouble(Option<(String, Instant)>);

impl Trouble {
    /// Returns whether the reason is another than the one that was said last, or was not said for
    /// long. It then counts as said.
    fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        let known = self.0.as_ref().is_some_and(|(said, at)| {
            said == reason && now.saturating_duration_since(*at) < REMINDER
        });
        if !known {
            self.0 = Some((reason.to_owned(), now));
        }
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_trouble_is_said_once_a_minute_and_another_one_at_once() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(trouble.is_news("no answer", now));
        for second in 1..60 {
            assert!(!trouble.is_news("no answer", after(second)), "{second}");
        }
        assert!(trouble.is_news("another certificate", after(59)));
        assert!(trouble.is_news("no answer", after(59)));
        assert!(!trouble.is_news("no answer", after(118)));
        assert!(trouble.is_news("no answer", after(119)));
    }
}
