//! What a cheating relay tells the victim, and what nodes in league with it sign.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::round::message::{Keys, Message, Signed};
use fl_protocol::round::{Outcome, Refusal};
use fl_protocol::wire::RelayFrame;
use fl_tests::deployed::PATIENCE;
use fl_tests::hostile_relay::{Attack, Lie, Parcel, Record, Run, VICTIM};

/// A digest of nothing.
pub(crate) const OTHER: Digest = Digest([9; 32]);

/// Signs a message for a node that is in league with the relay.
pub(crate) fn signed<T: Message>(message: &T, identity: &Identity) -> Signed<T> {
    Signed::new(message, identity).unwrap()
}

/// Changes a frame on its way to the victim. `change` returns whether it is the one.
pub(crate) fn frame(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut RelayFrame) -> bool + Send + 'static,
) -> Lie {
    Lie::refused(met, move |record, parcels| match &mut parcels[..] {
        [Parcel::Frame(frame)] => change(record, frame),
        _ => false,
    })
}

/// Changes a bundle of keys. `change` returns whether it is the one.
pub(crate) fn keys(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut Vec<Signed<Keys>>) -> bool + Send + 'static,
) -> Lie {
    frame(met, move |record, frame| match frame {
        RelayFrame::Keys { bundle, .. } => change(record, bundle),
        _ => false,
    })
}

/// The outcome that goes to the victim, if it is that of round `round` or of a later one.
pub(crate) fn outcome_of<'a>(
    record: &Record,
    parcels: &'a mut [Parcel],
    round: usize,
) -> Option<&'a mut Outcome> {
    match parcels {
        [Parcel::Frame(RelayFrame::Outcome(outcome)), ..] if record.results.len() >= round => {
            Some(outcome)
        }
        _ => None,
    }
}

/// Changes the outcome of round `round` or of a later one, and leaves the sum as it is.
pub(crate) fn outcome(
    round: usize,
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut Outcome) + Send + 'static,
) -> Lie {
    Lie::refused(met, move |record, parcels| {
        let outcome = outcome_of(record, parcels, round);
        outcome.map(|outcome| change(record, outcome)).is_some()
    })
}

/// Sends something else instead of the result of round `round` or of a later one.
pub(crate) fn instead(
    round: usize,
    met: fn(&Refusal) -> bool,
    parcels: impl Fn(&Record) -> Vec<Parcel> + Send + 'static,
) -> Lie {
    Lie::refused(met, move |record, honest| {
        let due = outcome_of(record, honest, round).is_some();
        if due {
            *honest = parcels(record);
        }
        due
    })
}

/// Publishes another sum, with a root and a model that go with it.
pub(crate) fn sum(met: fn(&Refusal) -> bool, change: fn(&mut [u32])) -> Lie {
    instead(1, met, move |record| {
        let (_, honest) = record.results.last().unwrap();
        let words = honest.as_chunks::<4>().0.iter();
        let mut words: Vec<_> = words.map(|word| u32::from_le_bytes(*word)).collect();
        change(&mut words);
        record.forged(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    })
}

/// Whether nothing but the tags of a sum gives it away.
pub(crate) fn by_its_tags(refusal: &Refusal) -> bool {
    *refusal == Refusal::Tag
}

/// Withholds every result until it is told to release them.
pub(crate) struct Withholding {
    released: Arc<AtomicBool>,
    withheld: Sender<()>,
}

/// The results of a relay that is [`Withholding`] them.
pub(crate) struct Withheld {
    released: Arc<AtomicBool>,
    withheld: Receiver<()>,
}

impl Withholding {
    pub(crate) fn new() -> (Self, Withheld) {
        let released = Arc::<AtomicBool>::default();
        let (sender, withheld) = channel();
        let attack = Self {
            released: released.clone(),
            withheld: sender,
        };
        (attack, Withheld { released, withheld })
    }
}

impl Attack for Withholding {
    fn send(&mut self, _: &Record, _: NodeId, parcels: &mut Vec<Parcel>) {
        if let [Parcel::Frame(RelayFrame::Outcome(_)), ..] = parcels[..]
            && !self.released.load(Ordering::Relaxed)
        {
            parcels.clear();
            // The test may know already.
            let _ = self.withheld.send(());
        }
    }
}

impl Withheld {
    /// Waits until there is one.
    pub(crate) fn wait(&self) {
        self.withheld.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets all results pass from now on.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

/// Has a relay rerun a round without the last of `nodes`, which three of the others must refuse,
/// the victim even after a restart. Returns who refused.
pub(crate) fn refuse_a_rerun(run: &mut Run<'_>, nodes: &[&str]) -> BTreeSet<String> {
    const WORDS: &str = "a rerun must have the very same participants";
    run.relay.rerun_without(&nodes[nodes.len() - 1..]);
    let mut refused = BTreeSet::new();
    while refused.len() < 3 {
        let (node, refusal) = run.relay.refusal();
        let with_all =
            matches!(&refusal, Refusal::Difference { sent_with } if sent_with.len() == nodes.len());
        assert!(with_all, "{node}: {refusal}");
        run.node(&node).line(WORDS);
        refused.insert(node);
    }
    run.restart(VICTIM);
    run.node(VICTIM).line(WORDS);
    refused
}
