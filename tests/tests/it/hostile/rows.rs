//! How many rows a participant reads from the sums that everyone sees, with the limits on what a
//! round may do to the model and without.

use fl_datasets::{Dataset, Split};
use fl_protocol::manifest::LimitTable;
use fl_tests::deployed::{Consortium, Ended, Process, data};
use fl_tests::hostile_node::{HostileNode, Misdeed};

use crate::support::consortium::local_task;

/// Nodes that train, each on a file of its own.
const HOSPITALS: [&str; 4] = ["a", "b", "c", "d"];

/// A row was read if each of its numbers was, within this part of it.
const PRECISION: f64 = 0.02;

/// Limits that nothing exceeds.
const NONE: LimitTable = LimitTable {
    update_norm: 1e9,
    loss_rise: 1e9,
};

/// How traps are set.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Norm of their weights.
    size: f64,
    /// Rounds that there are, if no node ends before. Large weights take long to turn, since one
    /// round moves none further than the clip.
    rounds: usize,
}

/// Without regard to any limit.
const CRUDE: Manner = Manner {
    size: 1.5,
    rounds: 120,
};

/// So that they hardly show in the model.
const CAREFUL: Manner = Manner {
    size: 0.1,
    rounds: 40,
};

/// What came of an attack.
#[derive(Debug)]
struct Attacked {
    /// Sums that the attacker was sent.
    rounds: usize,
    /// Patients on whom the hospitals trained.
    patients: usize,
    /// How many of them it has read.
    read: usize,
    /// How many it has read of those whom the hospitals hold back, so that nothing tells of them.
    held_back: usize,
}

impl Attacked {
    /// Checks that rows were read, and none of which nothing tells.
    #[track_caller]
    fn has_rows(&self) {
        assert!(self.read >= 3, "{self:?}");
        assert_eq!(self.held_back, 0, "{self:?}");
    }
}

/// Has a participant set traps in this manner, in rounds under these limits. Returns what came of
/// it, and how the hospitals' nodes ended.
fn attacked(limits: LimitTable, manner: Manner) -> (Attacked, [Ended; HOSPITALS.len()]) {
    let consortium = Consortium::found("a,b,c,d,m", &["--data", "breast-cancer"]);
    consortium.amend(|manifest| manifest.limits.clone_from(&limits));
    let patients = data::patients();
    for (index, hospital) in HOSPITALS.iter().enumerate() {
        let lines = patients.iter().skip(index).step_by(HOSPITALS.len());
        data::csv(consortium.path(), &file(hospital), lines);
    }
    let (_relay, address) = consortium.relay(&["--rounds", &manner.rounds.to_string()]);
    let insider = HostileNode::start(&consortium, "m", address, Misdeed::Trap(manner.size));
    let nodes = HOSPITALS.map(|name| consortium.node(name, address, &file(name)));
    let nodes = nodes.map(Process::ended);

    let caught = insider.rows();
    let read = |data: &Dataset| {
        let rows = (0..data.len()).map(|index| data.row(index));
        rows.filter(|row| caught.iter().any(|caught| is_close(caught, row)))
            .count()
    };
    let mut attacked = Attacked {
        rounds: insider.sums().len(),
        patients: 0,
        read: 0,
        held_back: 0,
    };
    for hospital in HOSPITALS {
        let (_, _, Split { train, test }) = local_task(&consortium, hospital, &file(hospital));
        attacked.patients += train.len();
        attacked.read += read(&train);
        attacked.held_back += read(&test);
    }
    println!("{limits:?}, {manner:?}: {attacked:?}");
    (attacked, nodes)
}

/// The file of a hospital.
fn file(hospital: &str) -> String {
    format!("{hospital}.csv")
}

/// Whether each number is that of the row, but for a small part of it.
fn is_close(caught: &[f64], row: &[f32]) -> bool {
    let mut pairs = caught.iter().zip(row);
    pairs.all(|(caught, value)| {
        let value = f64::from(*value);
        (caught - value).abs() <= PRECISION * value.abs()
    })
}

#[test]
fn without_limits_a_participant_that_sets_traps_reads_rows() {
    let (attacked, nodes) = attacked(NONE, CRUDE);
    nodes.into_iter().for_each(|node| drop(node.succeeded()));
    attacked.has_rows();
}

#[test]
fn nodes_end_when_a_participant_sets_traps_without_regard_to_the_limits() {
    let (attacked, nodes) = attacked(LimitTable::default(), CRUDE);
    for node in nodes {
        node.refused(&["round 1 moved the model by", "than the 10 that"]);
    }
    assert_eq!((attacked.rounds, attacked.read), (1, 0), "{attacked:?}");
}

#[test]
fn a_participant_that_regards_the_limits_reads_rows_within_them() {
    let (attacked, nodes) = attacked(LimitTable::default(), CAREFUL);
    nodes.into_iter().for_each(|node| drop(node.succeeded()));
    attacked.has_rows();
}
