//! How well attackers guess the updates of others, beside controls in which they know them.
//!
//! Training is deterministic, and this process has everyone's data and keys, so it computes what
//! the real nodes have put into their sums.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use fl_network::kit::Kit;
use fl_protocol::digest::model_hash;
use fl_protocol::identity::NodeId;
use fl_protocol::round::message::Signed;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::{Kind, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::{ANY, Consortium, Process, data, own_address};
use fl_tests::hostile_node::{HostileNode, Misdeed};
use fl_tests::hostile_relay::{Attack, HostileRelay, Parcel, Record};
use fl_tests::plain_sum::PlainSum;
use fl_tests::statistics::{cosine, less};
use fl_trainer::{OrderKey, cpu};

use crate::support::consortium::{local_task, succeed};

/// Nodes that train, each on a file of its own.
const HOSPITALS: [&str; 4] = ["a", "b", "c", "d"];

/// A participant that does not train.
const INSIDER: &str = "m";

/// Least cosine of two vectors that are the same but for the rounding of fixed point.
const EXACT: f64 = 0.999_9;

/// Founds a consortium, with these flags for `provision`, and writes the hospitals' files. The
/// first hospital has other cases than the others.
fn founded(nodes: &str, flags: &[&str]) -> Consortium {
    let data = ["--data", "breast-cancer"];
    let consortium = Consortium::found(nodes, &[&data[..], flags].concat());
    let mut parts = [const { Vec::new() }; HOSPITALS.len()];
    let (mut malignant, mut benign) = (0, 0);
    for line in data::patients() {
        let (count, of_first) = match line.ends_with("malignant") {
            true => (&mut malignant, 150),
            false => (&mut benign, 30),
        };
        *count += 1;
        let part = match *count <= of_first {
            true => 0,
            false => 1 + *count % (HOSPITALS.len() - 1),
        };
        parts[part].push(line);
    }
    for (hospital, lines) in HOSPITALS.iter().zip(&parts) {
        data::csv(consortium.path(), &file(hospital), lines);
    }
    consortium
}

/// The file of a hospital.
fn file(hospital: &str) -> String {
    format!("{hospital}.csv")
}

/// Starts these hospitals.
fn started(consortium: &Consortium, relay: SocketAddr, hospitals: &[&str]) -> Vec<Process> {
    let start = |hospital: &&str| consortium.node(hospital, relay, &file(hospital));
    hospitals.iter().map(start).collect()
}

/// What a hospital puts into the sum of a round that begins with this model.
fn input(consortium: &Consortium, hospital: &str, (round, model): (u64, &[f32])) -> PlainSum {
    let (spec, training, split) = local_task(consortium, hospital, &file(hospital));
    let trainer = spec.trainer(split.train, split.test, training, cpu());
    let kit = Kit::load(&consortium.kit(hospital)).unwrap();
    let identity = kit.node_identity().unwrap().clone();
    let order = OrderKey::new(identity, kit.manifest.consortium_id());
    let order = order.seed(round, model_hash(model));
    let mut go_on = |_| ControlFlow::Continue(());
    let trained = trainer.unwrap().train(model, round, &order, &mut go_on);
    let trained = trained.unwrap();
    let update = trained.update.to_vec().unwrap();
    let weight = f64::from(trained.examples);
    PlainSum {
        examples: trained.examples.into(),
        weighted: update
            .iter()
            .map(|value| f64::from(*value) * weight)
            .collect(),
    }
}

/// What the hospitals' inputs add up to.
fn added(inputs: &[PlainSum]) -> Vec<f64> {
    let mut sum = vec![0.0; inputs[0].weighted.len()];
    for input in inputs {
        let pairs = sum.iter_mut().zip(&input.weighted);
        pairs.for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// A consortium of the hospitals and of an insider that holds the model where it is: so the sums of
/// two rounds are sums of nearly the same updates.
struct Holding {
    consortium: Consortium,
    relay: SocketAddr,
    insider: HostileNode,
}

impl Holding {
    /// Founds it, with these flags for `provision`. Once the insider has a sum, it accuses whom
    /// `accused` names.
    fn begin(flags: &[&str], accused: impl FnOnce(&Consortium) -> Option<NodeId>) -> Self {
        let consortium = founded("a,b,c,d,m=65536", flags);
        let relay = own_address();
        let accused = accused(&consortium);
        let misdeed = Misdeed::Hold { accused };
        Self {
            insider: HostileNode::start(&consortium, INSIDER, relay, misdeed),
            consortium,
            relay,
        }
    }

    /// Starts the relay for rounds up to this one, of so many nodes at least.
    fn relay(&self, round: u64, nodes: usize) -> Process {
        let (rounds, nodes) = (round.to_string(), nodes.to_string());
        let flags = ["--rounds", &rounds, "--min-nodes", &nodes];
        self.consortium.relay_at(self.relay, &flags).0
    }

    fn started(&self, hospitals: &[&str]) -> Vec<Process> {
        started(&self.consortium, self.relay, hospitals)
    }

    /// Completes the first round, with everyone.
    fn first_round(&self) {
        let relay = self.relay(1, 5);
        succeed(self.started(&HOSPITALS).into_iter().chain([relay]));
    }

    /// How well the difference of the insider's sums of each two rounds tells what the first
    /// hospital has put into the first of them.
    fn told(&self) -> Vec<Told> {
        let sums = self.insider.sums();
        let told = sums.windows(2).zip(1..).map(|(pair, round)| {
            let (first, second) = (&pair[0].sum, &pair[1].sum);
            let begun = (round, &pair[0].model[..]);
            let inputs = HOSPITALS.map(|name| input(&self.consortium, name, begun));
            let [victim, others @ ..] = &inputs;
            // Whatever follows rests on this: it is what they have really put in.
            assert!(cosine(&added(&inputs), &first.weighted) > EXACT);
            let difference = less(&first.weighted, &second.weighted);
            let told = Told {
                difference: cosine(&difference, &victim.weighted),
                sum_alone: cosine(&first.weighted, &victim.weighted),
                others: cosine(&added(others), &victim.weighted),
                examples: first.examples - second.examples,
                of_victim: victim.examples,
            };
            println!("round {round}: {told:.4?}");
            told
        });
        told.collect()
    }
}

/// How well something tells the update of a node.
#[derive(Debug)]
struct Told {
    /// Cosine of the difference of two sums and the update.
    difference: f64,
    /// Cosine of the first sum and the update, without any attack.
    sum_alone: f64,
    /// Cosine of what the others have put into the first sum, which knows nothing of the node, and
    /// the update.
    others: f64,
    /// Number of examples by which the sums differ.
    examples: u64,
    /// Number of examples of the node.
    of_victim: u64,
}

#[test]
fn where_any_may_take_part_a_participant_that_holds_the_model_reads_who_misses_a_round() {
    let attack = Holding::begin(&ANY, |_| None);
    attack.first_round();
    let relay = attack.relay(2, 4);
    succeed(attack.started(&HOSPITALS[1..]).into_iter().chain([relay]));
    let [told] = &attack.told()[..] else {
        panic!("more than two sums");
    };
    assert_eq!(told.examples, told.of_victim);
    assert!(told.difference > 0.9, "{told:?}");
    // Neither the sum nor the others' part of it tell as much.
    assert!(told.sum_alone < 0.8 && told.others < 0.8, "{told:?}");
}

#[test]
fn where_all_take_part_a_participant_that_holds_the_model_reads_nobody() {
    let attack = Holding::begin(&[], |_| None);
    attack.first_round();
    let relay = attack.relay(8, 4);
    let others = attack.started(&HOSPITALS[1..]);
    relay.line("waiting for a, for ");
    // Nothing goes on without it.
    assert_eq!(attack.insider.sums().len(), 1);
    let victim = attack.started(&HOSPITALS[..1]);
    succeed(others.into_iter().chain(victim).chain([relay]));
    let told = attack.told();
    assert!(told.iter().all(|told| told.examples == 0), "{told:?}");
    // A single difference is chance: it points where the orders of examples lead.
    let mean = told.iter().map(|told| told.difference).sum::<f64>() / told.len() as f64;
    println!("of {} differences: {mean:.4}", told.len());
    let mut others = told.iter().map(|told| told.others);
    assert!(others.all(|others| mean.abs() < others), "{mean}: {told:?}");
}

#[test]
fn a_participant_that_holds_the_model_and_accuses_another_has_no_second_sum() {
    // Whoever comes before the insider in the circle of all gives it a share.
    let before = |consortium: &Consortium| {
        let kit = Kit::load(&consortium.kit(INSIDER)).unwrap();
        let roster = kit.manifest.roster();
        let before = roster.range(..kit.id()).next_back();
        before.or(roster.last_key_value()).map(|(id, _)| *id)
    };
    let attack = Holding::begin(&[], before);
    attack.first_round();
    let relay = attack.relay(2, 4);
    succeed(attack.started(&HOSPITALS));
    let said = relay.ended().succeeded().text();
    assert!(said.contains("m is proven to have lied"), "{said}");
    assert!(said.contains("round 2: a, b, c, d take part"), "{said}");
    assert_eq!(attack.insider.sums().len(), 1);
}

/// Those that are not in league with the relay: all hospitals but the last.
const HONEST: usize = HOSPITALS.len() - 1;

/// A relay and the last hospital. In the second round they ask for the masked sums of the others
/// before that one has signed its own, and when they are refused, they follow the protocol.
struct Pair {
    learned: Sender<Learned>,
    /// The honest sums of the attempt in which they ask.
    sums: Vec<Signed<Sum>>,
    /// What was [`opened`] before they asked, and after they were refused.
    opened: Vec<usize>,
}

/// What the pair knows.
struct Learned {
    /// What was [`opened`] before they asked, after they were refused, and once all had signed.
    opened: Vec<usize>,
    /// Of both rounds.
    sums: [PlainSum; 2],
    /// With which the second round begins.
    model: Arc<Vec<f32>>,
}

/// How many bodies and tag shares of honest nodes have reached the relay.
fn opened(record: &Record) -> usize {
    let is_honest = |node: NodeId| HOSPITALS[..HONEST].contains(&record.name(node));
    let bodies = record.bodies.iter().filter(|(from, _)| is_honest(*from));
    let shares = record
        .heard
        .iter()
        .filter(|(from, frame)| is_honest(*from) && frame.kind() == Kind::TagShare);
    bodies.count() + shares.count()
}

impl Attack for Pair {
    fn send(&mut self, record: &Record, _: NodeId, parcels: &mut Vec<Parcel>) {
        match (&parcels[..], self.opened.len()) {
            // Whoever refused is back for the next attempt.
            ([Parcel::Frame(RelayFrame::Keys { .. })], 1) => self.opened.push(opened(record)),
            ([Parcel::Frame(RelayFrame::Outcome(_)), ..], 2) => {
                self.opened.push(opened(record));
                let [first, second] = &record.results[..] else {
                    panic!("{} results", record.results.len());
                };
                let addends = record.manifest.addends(record.manifest.roster().keys());
                let sum = |bytes: &[u8]| PlainSum::read(&record.manifest, addends, bytes);
                let learned = Learned {
                    opened: self.opened.clone(),
                    sums: [sum(&first.1), sum(&second.1)],
                    model: record.base_model.clone(),
                };
                self.learned.send(learned).unwrap();
            }
            _ => {}
        }
    }

    fn receive(
        &mut self,
        record: &Record,
        from: NodeId,
        frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        let NodeFrame::Sum(sum) = frame else {
            return None;
        };
        if record.results.is_empty() || !self.opened.is_empty() {
            return None;
        }
        if record.name(from) == HOSPITALS[HONEST] {
            return Some(Vec::new());
        }
        self.sums.push(sum.clone());
        if self.sums.len() < HONEST {
            return None;
        }
        self.opened.push(opened(record));
        let ask = |hospital: &&str| {
            let sums = self.sums.clone();
            let ctx = record.opened(&sums[0]).ctx;
            let frame = RelayFrame::Collect {
                ctx,
                first_chunk: 0,
                sums,
            };
            (record.id(hospital), Parcel::Frame(frame))
        };
        Some(HOSPITALS[..HONEST].iter().map(ask).collect())
    }
}

#[test]
fn a_relay_and_a_participant_guess_the_others_sum_until_it_commits_and_know_it_then() {
    let consortium = founded("a,b,c,d", &[]);
    let (learned, hear) = channel();
    let pair = Pair {
        learned,
        sums: Vec::new(),
        opened: Vec::new(),
    };
    let relay = HostileRelay::start(&consortium, 2, pair);
    let nodes = started(&consortium, relay.address, &HOSPITALS);
    let of_mole = Refusal::MissingSum(consortium.identity(HOSPITALS[HONEST]).node_id());
    for _ in 0..HONEST {
        assert_eq!(relay.refusal().1, of_mole);
    }
    assert_eq!(relay.finished().1, []);
    succeed(nodes);

    let Learned {
        opened,
        sums: [first, second],
        model,
    } = hear.recv().unwrap();
    // A body and a tag share each in the first round, none more until the participant has signed.
    let each = 2 * HONEST;
    assert_eq!(opened, [each, each, 2 * each]);
    let initial = Kit::load(&consortium.kit("relay")).unwrap();
    let initial = initial.initial().unwrap();
    let begun = [(1, &initial[..]), (2, &model[..])];
    let [before, now] = begun.map(|begun| {
        let mut inputs = HOSPITALS
            .map(|name| input(&consortium, name, begun))
            .to_vec();
        let own = inputs.pop().unwrap();
        (added(&inputs), own.weighted)
    });
    // What they have of the first round is their best guess.
    let guess = less(&first.weighted, &before.1);
    assert!(cosine(&guess, &before.0) > EXACT);
    let until = cosine(&guess, &now.0);
    // The control: with all that they have once the participant has signed.
    let then = cosine(&less(&second.weighted, &now.1), &now.0);
    println!("until it has signed {until:.4}, then {then:.6}");
    assert!(until < 0.9, "{until}");
    assert!(then > EXACT, "{then}");
}
