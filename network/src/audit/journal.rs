//! Where the drivers hand over what happens: what of it belongs into the log, and when.
//!
//! A node acts only on what is in its log: each hook stands before the act. The relay goes on without its log, since the
//! others' rounds must not hang on its disk; what it could not write it writes later, in order.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::log::{Log, LogError};
use super::record::{Entry, Party, Record};
use crate::digest::Digest;
use crate::error::WireError;
use crate::files::FileError;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::{Message, Signed};
use crate::round::node::Pending;
use crate::round::relay::{self, Event, Relay, Report};
use crate::round::{Chain, Refusal, node};
use crate::wire::{self, NodeFrame, RelayFrame};

/// Refusals of one round that are logged: a hostile peer can cause any number of them.
const MAX_REFUSALS: usize = 256;
/// Records that the relay keeps in memory while its log cannot be written.
const MAX_UNWRITTEN: usize = 1 << 16;

/// What both sides share: a log in which nothing is said twice about a round.
struct Journal {
    log: Log,
    /// Digests of what was logged since the last result.
    said: BTreeSet<Digest>,
    refusals: usize,
}

impl Journal {
    fn open(
        path: &Path,
        manifest: &Manifest,
        party: Party,
        chain: Chain,
        unix_s: u64,
        each: impl FnMut(&[u8]),
    ) -> Result<Self, LogError> {
        let sid = manifest.sid();
        if chain.round > 0 && !path.exists() {
            let (path, round) = (path.display(), chain.round);
            warn!("{path} is not there: the log begins anew, after round {round}");
        }
        let (log, dropped) = Log::open_and_read(path, sid, each)?;
        if dropped > 0 {
            let path = path.display();
            warn!("{path}: the last {dropped} bytes, which a crash had cut short, are taken off");
        }
        let mut journal = Self {
            log,
            said: BTreeSet::new(),
            refusals: 0,
        };
        let entry = Entry::Started {
            sid,
            party,
            chain,
            dropped,
        };
        journal.write(&Record { unix_s, entry })?;
        Ok(journal)
    }

    fn write(&mut self, record: &Record) -> Result<(), LogError> {
        let refusal = matches!(record.entry, Entry::Refused { .. });
        let said = said(&record.entry)?;
        if self.said.contains(&said) || (refusal && self.refusals >= MAX_REFUSALS) {
            return Ok(());
        }
        self.log.append(record)?;
        if matches!(record.entry, Entry::Outcome(_) | Entry::Adopted(_)) {
            self.said.clear();
            self.refusals = 0;
        }
        self.said.insert(said);
        self.refusals += usize::from(refusal);
        Ok(())
    }
}

/// What an entry says. A signature does not count: a dishonest signer can make any number of them for one message.
fn said(entry: &Entry) -> Result<Digest, WireError> {
    fn message<T: Message>(signed: &Signed<T>) -> Digest {
        Digest::sha256(&[T::LABEL.as_str().as_bytes(), signed.bytes()])
    }
    Ok(match entry {
        Entry::Sum(signed) => message(signed),
        Entry::Ack(signed) => message(signed),
        Entry::Contribution(signed) => message(signed),
        Entry::Receipt(signed) => message(signed),
        Entry::Vote(signed) => message(signed),
        Entry::Reveal(signed) => message(signed),
        entry => Digest::sha256(&[&wire::encode(entry)?]),
    })
}

/// A node's log, for its driver.
pub struct NodeJournal {
    journal: Journal,
    own: NodeId,
    /// Whether the nodes share among each other, without a committee.
    peers: bool,
    /// The attempt that was asked for last: logged when the node answers.
    opened: Option<Entry>,
    /// The result or checkpoint that came last: logged when it is taken.
    taken: Option<Entry>,
}

/// What of a frame belongs into the log of a node whose machine accepts it.
pub fn heard(frame: &RelayFrame) -> Option<Entry> {
    Some(match frame {
        RelayFrame::Open {
            round,
            attempt,
            previous,
            model,
            ..
        } => Entry::Opened {
            round: *round,
            attempt: *attempt,
            previous: *previous,
            model: *model,
        },
        RelayFrame::Keys(bundle) => Entry::Keys(bundle.clone()),
        RelayFrame::Shares(shares) => Entry::Shares(shares.clone()),
        RelayFrame::Outcome(outcome) => Entry::Outcome(outcome.clone()),
        RelayFrame::Checkpoint(checkpoint) => Entry::Adopted(checkpoint.clone()),
        RelayFrame::Convene {
            round,
            attempt,
            previous,
            model,
        } => Entry::Opened {
            round: *round,
            attempt: *attempt,
            previous: *previous,
            model: *model,
        },
        RelayFrame::Collect { .. }
        | RelayFrame::Slip(_)
        | RelayFrame::Received { .. }
        | RelayFrame::Ballot { .. }
        | RelayFrame::Reveal { .. }
        | RelayFrame::CollectReveal { .. }
        | RelayFrame::Lend { .. }
        | RelayFrame::Waiting { .. }
        | RelayFrame::Refused(_)
        | RelayFrame::Finished { .. } => return None,
    })
}

impl NodeJournal {
    /// Opens the log at `path` of a node that stands at `chain`.
    ///
    /// # Errors
    /// [`LogError`]; the node then does not begin.
    pub fn open(
        path: &Path,
        manifest: &Manifest,
        own: NodeId,
        chain: Chain,
        unix_s: u64,
    ) -> Result<Self, LogError> {
        let journal = Journal::open(path, manifest, Party::Node(own), chain, unix_s, |_| ())?;
        Ok(Self {
            journal,
            own,
            peers: manifest.committee().is_none(),
            opened: None,
            taken: None,
        })
    }

    /// The machine has accepted the frame of which this was [`heard`].
    ///
    /// # Errors
    /// [`LogError`]; the node then leaves the attempt.
    pub fn accepts(&mut self, heard: Option<Entry>, unix_s: u64) -> Result<(), LogError> {
        match heard {
            Some(entry @ Entry::Opened { .. }) => self.opened = Some(entry),
            Some(entry @ (Entry::Outcome(_) | Entry::Adopted(_))) => self.taken = Some(entry),
            entry => return self.write(entry, unix_s),
        }
        Ok(())
    }

    /// The machine's action is about to be carried out.
    ///
    /// # Errors
    /// [`LogError`]; the action must then not be carried out, unless it is a refusal.
    pub fn acts(&mut self, action: &node::Action, unix_s: u64) -> Result<(), LogError> {
        use node::Action;
        let (own, relay) = (Party::Node(self.own), Party::Relay);
        let refused = |by, to, refusal: &Refusal| {
            let refusal = refusal.clone();
            Some(Entry::Refused { by, to, refusal })
        };
        let entry = match action {
            Action::Send(NodeFrame::Keys(_)) | Action::Contribute(_) => self.opened.take(),
            Action::Send(NodeFrame::Shares(shares)) => Some(Entry::Shares(shares.clone())),
            Action::Keep(Pending::Sum(pending)) => Some(Entry::Sum(pending.sum.clone())),
            Action::Keep(Pending::Contribution(prepared)) => {
                Some(Entry::Contribution(prepared.contribution.clone()))
            }
            Action::Send(NodeFrame::Receipt(receipt)) => Some(Entry::Receipt(receipt.clone())),
            Action::Send(NodeFrame::Vote(vote)) => Some(Entry::Vote(vote.clone())),
            Action::Send(NodeFrame::Reveal(reveal)) => Some(Entry::Reveal(reveal.clone())),
            // A contribution follows its signature at once, so that alone is logged.
            Action::Upload { ctx, .. } => self.peers.then_some(Entry::Body {
                ctx: *ctx,
                node: self.own,
            }),
            Action::Commit(_) => self.taken.take(),
            Action::Send(NodeFrame::Ack(ack)) => Some(Entry::Ack(ack.clone())),
            Action::Send(NodeFrame::Refused { refusal, .. }) => refused(own, relay, refusal),
            Action::TurnedAway(refusal) => refused(relay, own, refusal),
            Action::Send(NodeFrame::Hello(_) | NodeFrame::Sum(_) | NodeFrame::Contribution(..))
            | Action::Convene { .. }
            | Action::Open(_)
            | Action::Reveal(_)
            | Action::UploadReveal { .. }
            | Action::Received { .. }
            | Action::Train { .. }
            | Action::Seal { .. }
            | Action::Sum(_)
            | Action::Record(_)
            | Action::Average(_)
            | Action::Adopt(_)
            | Action::Lend { .. }
            | Action::Waiting { .. }
            | Action::Finish { .. } => None,
        };
        self.write(entry, unix_s)
    }

    fn write(&mut self, entry: Option<Entry>, unix_s: u64) -> Result<(), LogError> {
        match entry {
            Some(entry) => self.journal.write(&Record { unix_s, entry }),
            None => Ok(()),
        }
    }

    /// See [`Log::sync`].
    pub fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        self.journal.log.sync()
    }
}

/// The relay's log, for its driver.
pub struct RelayJournal {
    journal: Journal,
    manifest: Arc<Manifest>,
    /// The attempt whose bodies are being collected.
    collecting: Option<Digest>,
    unwritten: VecDeque<Record>,
    /// Whether it was said that the disk does not take it.
    said: bool,
    ended_untaken: bool,
}

/// What of an event belongs into the relay's log, if its machine accepts it.
pub struct Heard {
    from: Option<NodeId>,
    entry: Option<Entry>,
    refuses: bool,
}

impl RelayJournal {
    /// Opens the log at `path` of a relay that stands at `chain`.
    ///
    /// # Errors
    /// [`LogError`]; the relay then does not begin.
    pub fn open(
        path: &Path,
        manifest: Arc<Manifest>,
        chain: Chain,
        unix_s: u64,
    ) -> Result<Self, LogError> {
        let mut ended_untaken = false;
        let each = |payload: &[u8]| match wire::decode(payload).map(|record: Record| record.entry) {
            Ok(Entry::Outcome(_)) => ended_untaken = true,
            Ok(Entry::Ack(_) | Entry::TakenBack | Entry::Adopted(_)) => ended_untaken = false,
            _ => {}
        };
        let journal = Journal::open(path, &manifest, Party::Relay, chain, unix_s, each)?;
        Ok(Self {
            journal,
            manifest,
            collecting: None,
            unwritten: VecDeque::new(),
            said: false,
            ended_untaken,
        })
    }

    /// Whether the log ended, when it was opened, in a result that nobody had acknowledged.
    pub fn ended_untaken(&self) -> bool {
        self.ended_untaken
    }

    /// The machine is about to take in `event`.
    pub fn hears(&self, event: &Event, machine: &Relay) -> Heard {
        let (from, entry) = match event {
            // What is let pass unseen may be anything.
            Event::Frame(node, frame) if !machine.looks_at(frame.kind()) => (Some(*node), None),
            Event::Frame(node, frame) => (Some(*node), self.frame(frame)),
            Event::BodyAdded(node) => {
                let body = |ctx| Entry::Body { ctx, node: *node };
                (Some(*node), self.collecting.map(body))
            }
            // A reveal's body shows in the outcome.
            Event::RevealAdded(..)
            | Event::Lost(_)
            | Event::Lent(_)
            | Event::Averaged(_)
            | Event::Impossible(_)
            | Event::TookBack
            | Event::Tick => (None, None),
        };
        let refuses = matches!(event, Event::Frame(_, NodeFrame::Refused { .. }));
        Heard {
            from,
            entry,
            refuses,
        }
    }

    fn frame(&self, frame: &NodeFrame) -> Option<Entry> {
        match frame {
            NodeFrame::Shares(shares) => Some(Entry::Shares(shares.clone())),
            // While bodies are collected, nodes that return repeat their sums, and nobody looks at them again.
            NodeFrame::Sum(sum) if self.collecting.is_none() => Some(Entry::Sum(sum.clone())),
            NodeFrame::Ack(ack) => Some(Entry::Ack(ack.clone())),
            NodeFrame::Contribution(contribution, _) => {
                Some(Entry::Contribution(contribution.clone()))
            }
            NodeFrame::Receipt(receipt) => Some(Entry::Receipt(receipt.clone())),
            NodeFrame::Vote(vote) => Some(Entry::Vote(vote.clone())),
            NodeFrame::Reveal(reveal) => Some(Entry::Reveal(reveal.clone())),
            NodeFrame::Sum(_)
            | NodeFrame::Hello(_)
            | NodeFrame::Keys(_)
            | NodeFrame::Refused { .. } => None,
        }
    }

    /// The machine has taken it in, and its actions are about to be carried out.
    pub fn acts(&mut self, heard: Heard, actions: &[relay::Action], machine: &Relay, unix_s: u64) {
        use relay::Action;
        let passed_over = |action: &Action| match action {
            Action::Report(Report::Refused(node, _) | Report::Late(node, _)) => {
                heard.from == Some(*node)
            }
            _ => false,
        };
        let accepted = !actions.iter().any(passed_over);
        // A node that returns repeats its last acknowledgement, which may be of a state that is history.
        let current = |entry: &Entry| match entry {
            Entry::Ack(ack) => ack
                .verify(&self.manifest, unix_s)
                .is_ok_and(|ack| Chain::from_ack(&ack) == machine.chain()),
            _ => true,
        };
        let mut entries = Vec::new();
        entries.extend(heard.entry.filter(|entry| accepted && current(entry)));
        for action in actions {
            match action {
                Action::Send(
                    _,
                    frame @ (RelayFrame::Open { .. }
                    | RelayFrame::Convene { .. }
                    | RelayFrame::Keys(_)),
                ) => {
                    entries.extend(self::heard(frame));
                }
                Action::Accumulate { ctx, .. } => self.collecting = Some(*ctx),
                Action::Average { .. } | Action::Discard => self.collecting = None,
                Action::Keep => {
                    let last = machine.last_result();
                    entries.extend(last.map(|last| Entry::Outcome(last.outcome.clone())));
                }
                Action::Adopt(checkpoint) => entries.push(Entry::Adopted(checkpoint.clone())),
                Action::Report(Report::TakenBack { .. }) => entries.push(Entry::TakenBack),
                Action::Report(Report::Refused(node, refusal)) => {
                    let (node, refusal) = (Party::Node(*node), refusal.clone());
                    let (by, to) = match heard.refuses && heard.from.map(Party::Node) == Some(node)
                    {
                        true => (node, Party::Relay),
                        false => (Party::Relay, node),
                    };
                    entries.push(Entry::Refused { by, to, refusal });
                }
                Action::Send(..)
                | Action::Spool { .. }
                | Action::CollectReveal { .. }
                | Action::AddUp { .. }
                | Action::TurnAway(..)
                | Action::Collect { .. }
                | Action::Commit(_)
                | Action::Certify(_)
                | Action::TakeBack
                | Action::Deliver(..)
                | Action::Restore(..)
                | Action::Borrow { .. }
                | Action::Report(_)
                | Action::Finish => {}
            }
        }
        let records = entries.into_iter().map(|entry| Record { unix_s, entry });
        self.unwritten.extend(records);
        self.write();
    }

    /// Writes what there is to write, as far as the disk takes it.
    fn write(&mut self) {
        while let Some(record) = self.unwritten.front() {
            if let Err(error) = self.journal.write(record) {
                if !std::mem::replace(&mut self.said, true) {
                    error!(%error, "the log is not on disk, and will be written later");
                }
                // A log with a hole in it is found not to be sound, whatever is left out.
                self.unwritten.truncate(MAX_UNWRITTEN);
                return;
            }
            self.unwritten.pop_front();
        }
        if std::mem::take(&mut self.said) {
            info!("the log is on disk again");
        }
    }

    /// See [`Log::sync`].
    pub fn sync(&self) -> impl Fn() -> Result<(), FileError> + Send + Sync + use<> {
        self.journal.log.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::audit::verify;
    use crate::round::Checkpoint;
    use crate::round::Kind;
    use crate::round::message::ResultAck;
    use crate::round::relay::{Action, Settings};
    use crate::testing::Consortium;

    fn ack(consortium: &Consortium, round: u64) -> Signed<ResultAck> {
        let (manifest, identity) = (&consortium.manifest, &consortium.identities[0]);
        let ack = ResultAck {
            sid: manifest.sid(),
            node: identity.node_id(),
            round,
            result: manifest.sid(),
            model: manifest.initial_model(),
        };
        Signed::new(&ack, identity).unwrap()
    }

    #[test]
    fn a_message_counts_once_whatever_its_signatures() {
        let consortium = Consortium::new(3);
        let first = ack(&consortium, 1);
        let mut bytes = wire::encode(&first).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let other: Signed<ResultAck> = wire::decode(&bytes).unwrap();
        assert_ne!(wire::encode(&first).unwrap(), wire::encode(&other).unwrap());
        let said = |ack| said(&Entry::Ack(ack)).unwrap();
        assert_eq!(said(first.clone()), said(other));
        assert_ne!(said(first), said(ack(&consortium, 2)));
    }

    #[test]
    fn what_fits_into_a_frame_fits_into_the_log() {
        let consortium = Consortium::new(3);
        let chain = Chain::start(&consortium.manifest);
        let checkpoint = |acks: usize| {
            let acks = vec![ack(&consortium, 1); acks];
            RelayFrame::Checkpoint(Checkpoint { chain, acks })
        };
        let bytes = |frame: &RelayFrame| wire::encode(frame).map(|bytes| bytes.len());
        let record = |frame: &RelayFrame| {
            let entry = heard(frame).unwrap();
            wire::encode(&Record { unix_s: 9, entry })
        };
        let ack_bytes = bytes(&checkpoint(1)).unwrap() - bytes(&checkpoint(0)).unwrap();
        let most = (wire::MAX_FRAME_BYTES - bytes(&checkpoint(0)).unwrap()) / ack_bytes;
        assert!(record(&checkpoint(most)).is_ok());
        // Negative control: a message that is no frame any more.
        let more = most + (1 << 10) / ack_bytes + 2;
        assert!(record(&checkpoint(more)).is_err());
    }

    #[test]
    fn what_the_relay_cannot_log_it_logs_later_and_of_refusals_no_more_than_enough() {
        let consortium = Consortium::new(3);
        let manifest = &consortium.manifest;
        let chain = Chain::start(manifest);
        let settings = Settings {
            rounds: 1,
            fraction_fit: 1.0,
            min_nodes: 3,
        };
        let machine = Relay::new(manifest.clone(), settings, chain, 0, [0; 32]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut journal = RelayJournal::open(&path, manifest.clone(), chain, 9).unwrap();
        let node = consortium.identities[0].node_id();
        let refuse = |journal: &mut RelayJournal, round: u64| {
            let (attempt, done, joined) = (1, 0, 0);
            let refusal = Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            };
            let actions = [Action::Report(Report::Refused(node, refusal))];
            journal.acts(journal.hears(&Event::Tick, &machine), &actions, &machine, 9);
        };
        let logged = || {
            let verdict = verify(manifest, File::open(&path).unwrap()).unwrap();
            assert!(verdict.flaw.is_none());
            let refusals = verdict
                .summary
                .rounds
                .into_iter()
                .flat_map(|round| round.refusals);
            let rounds = refusals.map(|(by, to, refusal)| match refusal {
                Refusal::NotNext { round, .. } => {
                    assert_eq!((by, to), (Party::Relay, Party::Node(node)));
                    round
                }
                other => panic!("{other}"),
            });
            rounds.collect::<Vec<_>>()
        };
        refuse(&mut journal, 1);
        let full = Arc::new(File::open(&path).unwrap());
        let writable = journal.journal.log.exchange(full);
        refuse(&mut journal, 2);
        refuse(&mut journal, 3);
        assert_eq!(logged(), [1]);
        journal.journal.log.exchange(writable);
        refuse(&mut journal, 4);
        refuse(&mut journal, 4);
        assert_eq!(logged(), [1, 2, 3, 4], "in order, and once");

        (5..1000).for_each(|round| refuse(&mut journal, round));
        assert_eq!(logged().len(), MAX_REFUSALS);
        // A frame that is late does not enter.
        let late = Action::Report(Report::Late(node, Kind::Share));
        let event = Event::Frame(node, NodeFrame::Shares(Vec::new()));
        journal.acts(journal.hears(&event, &machine), &[late], &machine, 9);
        assert_eq!(logged().len(), MAX_REFUSALS);
    }
}
