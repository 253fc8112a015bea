//! `fl-node verify-log`.

use fl_network::opener::OPENER;
use fl_network::report_text::conviction_text;
use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use fl_network::files::{self, read_limited};
use fl_network::kit::{Kit, load_manifest};
use fl_network::program::folders;
use fl_network::program::logging::{one_line, say};
use fl_protocol::audit::{Party, Round, Summary, Taken, Verdict, verify};
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::{MAX_MANIFEST_BYTES, Manifest};
use fl_protocol::round::Head;
use serde_json::{Value, json};

use super::args::VerifyLog;

/// What scripts go by, beside 0 for a log that is sound.
const NOT_SOUND: u8 = 1;
const UNREADABLE: u8 = 2;

pub(crate) fn run(args: VerifyLog) -> ExitCode {
    match check(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_SOUND),
        Err(error) => {
            eprintln!(
                "error: {}",
                fl_network::program::logging::explain(error.as_ref())
            );
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Returns whether the log is sound.
fn check(args: &VerifyLog) -> anyhow::Result<bool> {
    let manifest = manifest(args)?;
    let path = log(args)?;
    let cannot = || format!("cannot read {}", path.display());
    let log = files::open(&path)?;
    let verdict = verify(&manifest, OPENER, BufReader::new(log)).with_context(cannot)?;
    let telling = Telling(&manifest);
    match args.json {
        true => say(telling.json(&verdict)),
        false => telling.text(&verdict),
    }
    Ok(verdict.flaw.is_none())
}

fn manifest(args: &VerifyLog) -> anyhow::Result<Manifest> {
    if let Some(path) = &args.manifest {
        let bytes = read_limited(path, MAX_MANIFEST_BYTES)?;
        return Manifest::unsigned(bytes).with_context(|| format!("in {}", path.display()));
    }
    let folder = args.kit.as_deref().context("--kit DIR is missing")?;
    let loaded = load_manifest(folder);
    let (manifest, _) = loaded.with_context(|| {
        let folder = folder.display();
        format!("no manifest of the log's consortium in {folder}; name it with --kit or --manifest")
    })?;
    Ok(manifest)
}

/// Returns the log's path.
fn log(args: &VerifyLog) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.log {
        return Ok(path.clone());
    }
    let folder = args.kit.as_deref().context("the log is missing: FILE")?;
    let kit = Kit::load(folder)
        .with_context(|| format!("the kit in {} cannot be used", folder.display()))?;
    Ok(folders::state(None, &kit, folder)?.join("audit.log"))
}

/// Tells a verdict, with the names of the manifest.
struct Telling<'a>(&'a Manifest);

impl Telling<'_> {
    fn text(&self, verdict: &Verdict) {
        let Verdict { summary, flaw } = verdict;
        if let Some(party) = summary.party {
            let (party, consortium) = (self.name(party), self.0.name());
            say(one_line(format_args!("log of {party} of {consortium}")));
        }
        if let Some(begins) = summary.begins.filter(|begins| begins.round > 0) {
            say(format_args!("it begins after round {}", begins.round));
        }
        for round in &summary.rounds {
            say(self.round(round));
            for conviction in &round.convicted {
                say(format_args!("  {}", conviction_text(self.0, conviction)));
            }
            for (by, to, refusal) in &round.refusals {
                say(one_line(format_args!(
                    "  {} refuses {}: {}",
                    self.name(*by),
                    self.name(*to),
                    self.0.with_names(refusal)
                )));
            }
        }
        if summary.dropped > 0 {
            say(format_args!(
                "{} bytes of records that crashes had cut short were taken off before",
                summary.dropped
            ));
        }
        if summary.incomplete > 0 {
            say(format_args!(
                "the last {} bytes are the beginning of a record that a crash cut short",
                summary.incomplete
            ));
        }
        let Summary {
            records,
            bytes,
            last_digest,
            ..
        } = summary;
        match flaw {
            None => say(format_args!(
                "sound: {records} records, {bytes} bytes, up to digest {}",
                last_digest.to_hex()
            )),
            Some(flaw) => say(format_args!(
                "NOT SOUND: {}\nthe {records} records before it hold",
                one_line(flaw)
            )),
        }
    }

    fn round(&self, round: &Round) -> String {
        let number = round.round;
        let names = self.0.names_of(&round.participants);
        let attempts = match round.attempts {
            1 => "1 attempt".to_owned(),
            some => format!("{some} attempts"),
        };
        match round.taken {
            Some(Taken::Result(Head {
                previous, model, ..
            })) => format!(
                "round {number}: {names}; {attempts}; result {previous}, model {model}; acknowledged by {}",
                self.names(&round.acknowledged)
            ),
            Some(Taken::Checkpoint(Head { model, .. })) => {
                format!("round {number}: certified model {model} taken")
            }
            None if round.participants.is_empty() => {
                format!("round {number}: {attempts}, no participants yet")
            }
            None => format!("round {number}: {names}; {attempts}; no result yet"),
        }
    }

    fn json(&self, verdict: &Verdict) -> Value {
        let Verdict { summary, flaw } = verdict;
        let flaw = flaw.as_ref().map(|flaw| {
            json!({
                "record": flaw.record,
                "offset": flaw.offset,
                "reason": flaw.what.to_string(),
            })
        });
        let rounds = summary.rounds.iter().map(|round| self.round_json(round));
        json!({
            "sound": flaw.is_none(),
            "flaw": flaw,
            "sid": self.0.consortium_id().to_hex(),
            "party": summary.party.map(|party| self.name(party)),
            "begins_after_round": summary.begins.map(|head| head.round),
            "records": summary.records,
            "bytes": summary.bytes,
            "incomplete_bytes": summary.incomplete,
            "dropped_bytes": summary.dropped,
            "digest": summary.last_digest.to_hex(),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    }

    fn round_json(&self, round: &Round) -> Value {
        let (taken, head) = match round.taken {
            None => (None, None),
            Some(Taken::Result(head)) => (Some("result"), Some(head)),
            Some(Taken::Checkpoint(head)) => (Some("checkpoint"), Some(head)),
        };
        let refusals = round.refusals.iter().map(|(by, to, refusal)| {
            let reason = self.0.with_names(refusal);
            json!({"by": self.name(*by), "to": self.name(*to), "reason": reason})
        });
        json!({
            "round": round.round,
            "attempts": round.attempts,
            "participants": self.list(&round.participants),
            "taken": taken,
            "result": head.map(|head| head.previous.to_hex()),
            "model": head.map(|head| head.model.to_hex()),
            "acknowledged": self.list(&round.acknowledged),
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }

    fn name(&self, party: Party) -> String {
        match party {
            Party::Relay => "the relay".to_owned(),
            Party::Node(id) => self.0.name_of(id),
        }
    }

    fn names(&self, nodes: &BTreeSet<NodeId>) -> String {
        match nodes.is_empty() {
            true => "nobody".to_owned(),
            false => self.0.names_of(nodes),
        }
    }

    fn list(&self, nodes: &BTreeSet<NodeId>) -> Vec<String> {
        let mut names: Vec<_> = nodes.iter().map(|id| self.0.name_of(*id)).collect();
        names.sort();
        names
    }
}
