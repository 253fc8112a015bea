//! What is going to happen, in the order of time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::round::Refusal;
use crate::round::training::Averaged;
use crate::sim::{Content, Delivery, Way, Work};

pub(super) enum Happening {
    Arrival(Delivery),
    Gone {
        node: usize,
        connection: u64,
    },
    Done {
        node: usize,
        life: u64,
        work: Work,
    },
    Averaged {
        life: u64,
        sum: Vec<u8>,
        averaged: Result<Box<Averaged>, Refusal>,
    },
    Connect(usize),
    Return(usize),
    RelayReturns,
    Tick,
}

/// A stream of a connection: nothing on it overtakes anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stream {
    Down,
    Frames,
    Bodies,
}

/// Happenings by their times; of those at one time, the one that was added first comes first.
#[derive(Default)]
pub(super) struct Agenda {
    happenings: BTreeMap<(Duration, u64), Happening>,
    added: u64,
    /// Latest arrival on each stream of each connection.
    arrivals: BTreeMap<(Option<u64>, Stream), Duration>,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Duration, happening: Happening) {
        self.added += 1;
        self.happenings.insert((at, self.added), happening);
    }

    /// Puts something on its stream, behind all that is on it. It arrives at this time or later.
    pub(super) fn carry(&mut self, at: Duration, delivery: Delivery) {
        let stream = match delivery.content {
            Content::ToRelay(_) => Stream::Frames,
            Content::Piece { .. } => Stream::Bodies,
            Content::ToNode(_) | Content::Body(_) => Stream::Down,
        };
        let latest = self
            .arrivals
            .entry((delivery.connection, stream))
            .or_default();
        *latest = at.max(*latest);
        let at = *latest;
        self.add(at, Happening::Arrival(delivery));
    }

    /// Returns when the next thing happens.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.happenings.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out what happens next.
    pub(super) fn pop(&mut self) -> Option<(Duration, Happening)> {
        let next = self.happenings.pop_first();
        next.map(|((at, _), happening)| (at, happening))
    }

    /// Takes out the `nth` arrival this way on a node's connection, counted around.
    pub(super) fn take_arrival(
        &mut self,
        (node, connection): (usize, Option<u64>),
        way: Way,
        nth: usize,
    ) -> Option<Delivery> {
        let is_wanted = |happening: &Happening| {
            matches!(happening, Happening::Arrival(delivery)
                if delivery.node == node
                    && delivery.way() == way
                    && delivery.connection == connection)
        };
        let keys = self.keys(is_wanted);
        let key = keys.get(nth % keys.len().max(1))?;
        match self.happenings.remove(key)? {
            Happening::Arrival(delivery) => Some(delivery),
            _ => None,
        }
    }

    /// Takes out the end of the work that a node's process began first.
    pub(super) fn take_work(&mut self, node: usize, life: u64) -> Option<Happening> {
        let is_wanted = |happening: &Happening| {
            matches!(happening, Happening::Done { node: of, life: in_life, .. }
                if *of == node && *in_life == life)
        };
        let keys = self.keys(is_wanted);
        self.happenings.remove(keys.first()?)
    }

    /// Puts off what arrives at a node on its connection, and its work.
    pub(super) fn put_off(
        &mut self,
        (node, connection): (usize, Option<u64>),
        now: Duration,
        by: Duration,
    ) {
        let keys = self.keys(|happening| match happening {
            Happening::Arrival(delivery) => delivery.node == node && delivery.way() == Way::Down,
            Happening::Done { node: of, .. } => *of == node,
            _ => false,
        });
        for (at, number) in keys {
            if let Some(happening) = self.happenings.remove(&(at, number)) {
                self.happenings.insert((at + by, number), happening);
            }
        }
        let until = now + by + Duration::from_secs(1);
        self.arrivals.insert((connection, Stream::Down), until);
    }

    fn keys(&self, is_wanted: impl Fn(&Happening) -> bool) -> Vec<(Duration, u64)> {
        let happenings = self.happenings.iter();
        let wanted = happenings.filter(|(_, happening)| is_wanted(happening));
        wanted.map(|(key, _)| *key).collect()
    }
}
