//! The promise over the whole life of a data set: every sequence of attempts, rounds, accusations,
//! losses, restarts, epochs and consortia, to a depth.
//!
//! The state is what the adversary knows: the sums, and who is excluded. The relay offers any
//! consortium that there can be of these nodes, at any time, any participants and any model; two
//! models that it gives one label are one. What nodes decide is decided by the production code:
//! [`check_participants`], [`SumsCheck`], [`SentSums::check`], [`set_apart`] and [`regrouped`].
//!
//! What is left out, and why nothing is lost by it:
//!
//! * An attempt at a time: what a node has sent and given is checked again when its sum leaves, so
//!   that of two attempts in progress the later finds the record of the earlier.
//! * A sum that some honest participants have sent, and others not, tells nothing; it only adds to
//!   the records of those who have, and whatever is on record has been found to set nobody apart.
//! * Where each node has an organisation of its own, who colludes is the first `c`: the consortia
//!   are closed under renaming. Fewer that collude know no more and are refused no less.
//! * All honest nodes of a consortium know at once who is convicted. Who does not know yet demands
//!   more, not less.
//! * An epoch is a consortium like any other: new keys, and no convictions. Each that has all sites
//!   is there twice.
//! * With a committee, read contributors for participants, U for V, and the vote for the upload:
//!   holders admit the same sets ([`Contributors::check_participants`]), hold to the same record of
//!   sent sums, and nobody is convicted; that no two sets of one model are certified is shown by
//!   `no_two_lists_are_certified_on_one_model_whatever_t_holders_and_the_relay_do`. A contribution
//!   that its node does not give is in no list, so that each node decides on further consortia for
//!   itself there, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use stateright::{Checker, Model, Property};

use super::histories::{Set, apart, first_letter};
use crate::digest::Digest;
use crate::histories::{Roster, Site, regrouped, set_apart};
use crate::identity::NodeId;
use crate::manifest::{CohortTable, ManifestFile, ParticipationMode};
use crate::round::cohort_minimum::check_participants;
use crate::round::committee::Contributors;
use crate::round::committee::message::ContributionId;
use crate::round::message::Signed;
use crate::round::peer::message::Sum;
use crate::round::peer::{Participants, SumsCheck};
use crate::round::{Head, Kind, SentSum, SentSums};
use crate::sim::{Consortium, EPOCH};

/// Sites, one bit each, in the order of [`Life::names`].
type Sites = u8;

/// Single nodes of so many organisations.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// What honest parties hold to.
#[derive(Clone, Copy)]
struct Rules {
    /// An accusation excludes the liar, for good, as soon as it is proven. Formerly it kept the
    /// accused out of the round.
    proof: bool,
    /// A sum leaves once the signed sums of all participants are seen. Formerly the relay's word
    /// was enough.
    all_committed: bool,
    /// Whether a node that has given sums in these consortia gives some in another one, too.
    /// Formerly it knew of no other.
    joins: fn(&[Roster], &Roster, &Site) -> bool,
}

const NEW: Rules = Rules {
    proof: true,
    all_committed: true,
    joins: |former, next, own| {
        set_apart(former, next).is_empty() && regrouped(former, next, own).is_empty()
    },
};

/// A consortium that the relay can lead.
struct Founded {
    consortium: Consortium,
    /// Which sites its nodes are, in the order of their numbers.
    places: Vec<usize>,
    collusion: usize,
}

/// A sum over these nodes that the relay asks for, or that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct JointSum {
    /// Place among the consortia.
    consortium: usize,
    set: Sites,
    /// Models that the difference rule takes for one have one label.
    model: u8,
}

/// An attempt in which all honest participants have signed their sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OpenAttempt {
    sum: JointSum,
    committed: Sites,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Knowledge {
    /// The sums that are known.
    sums: BTreeSet<JointSum>,
    /// By consortium, whom its nodes exclude.
    excluded: BTreeMap<usize, Sites>,
    attempt: Option<OpenAttempt>,
    /// Whether a sum was open before all participants had committed themselves to their parts.
    early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The relay opens an attempt, as far as the signed sums of the honest.
    Open(JointSum),
    /// One that colludes signs its sum.
    Commit(Sites),
    /// One that colludes says of another's share that it does not open.
    Accuse { by: Sites, accused: Sites },
    /// Something is lost, or started again, before a sum has left: what is not on record is gone.
    Lose,
    /// The relay asks the honest for their sums.
    Collect,
}

/// What an honest node sees when it is asked into a consortium: the others with those that are
/// excluded there, the next, and itself.
type Asked = (Vec<(usize, Sites)>, (usize, Sites), Sites);

/// The life of the data of some sites.
struct Life {
    names: Vec<&'static str>,
    consortia: Vec<Founded>,
    colluding: Sites,
    /// Whether the relay colludes. Else it opens each round with everyone whom it can have.
    hostile: bool,
    rules: Rules,
    /// Most sums, labels of models, and accusations.
    sums: usize,
    models: u8,
    accusations: u32,
    /// What nodes have decided before: the sets that they admit, whether they join another
    /// consortium, whether they send a sum.
    admitted: Mutex<HashMap<(usize, Sites), Vec<Sites>>>,
    joined: Mutex<HashMap<Asked, bool>>,
    uploaded: Mutex<HashMap<(usize, Sites, Sites), bool>>,
}

impl Founded {
    /// A consortium of these cohorts, or any of the first of them.
    fn new(names: &[&'static str], cohorts: &[Sites], mode: ParticipationMode, c: usize) -> Self {
        let all = cohorts.iter().fold(0, |all, cohort| all | cohort);
        let places: Vec<_> = (0..names.len()).filter(|k| all >> k & 1 == 1).collect();
        let table = |cohort: &Sites| CohortTable {
            nodes: named(names, *cohort)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        };
        let change = |file: &mut ManifestFile| {
            for (node, place) in file.nodes.iter_mut().zip(&places) {
                node.name = names[*place].to_owned();
                node.organisation = first_letter(names[*place]).to_owned();
            }
            file.collusion = u32::try_from(c).unwrap();
            file.min_nodes = file.min_nodes.max(file.collusion + 2);
            file.participation = mode;
            file.accepts_differences = mode == ParticipationMode::Any;
            if mode == ParticipationMode::Cohorts {
                file.cohorts = cohorts.iter().map(table).collect();
            }
        };
        Self {
            consortium: Consortium::with(places.len(), change),
            places,
            collusion: c,
        }
    }

    fn sites(&self) -> Sites {
        self.places
            .iter()
            .fold(0, |sites, place| sites | 1 << place)
    }

    fn ids(&self, sites: Sites) -> BTreeSet<NodeId> {
        let its = self.places.iter().enumerate();
        its.filter(|(_, place)| sites >> **place & 1 == 1)
            .map(|(k, _)| self.consortium.id(k))
            .collect()
    }

    fn roster(&self, excluded: Sites) -> Roster {
        Roster::new(&self.consortium.manifest, &self.ids(excluded))
    }

    /// Whether nodes take part in a sum over this set.
    fn admits(&self, set: Sites, excluded: Sites) -> bool {
        let (set, excluded) = (self.ids(set), self.ids(excluded));
        let admitted = check_participants(&self.consortium.manifest, &set, &excluded).is_ok();
        if excluded.is_empty() {
            let entry = |id: &NodeId| ContributionId {
                node: *id,
                contribution: id.0,
            };
            let entries = set.iter().map(entry).collect();
            let ballot = Contributors::new(Digest([0; 32]), entries, Kind::Ballot).unwrap();
            let holders = ballot.check_participants(&self.consortium.manifest);
            assert_eq!(holders.is_ok(), admitted, "holders admit the same");
        }
        admitted
    }

    /// Whether a node of `set` sends its sum once it has seen the signed sums of `committed`.
    fn sends(&self, set: Sites, committed: Sites) -> bool {
        let (consortium, manifest) = (&self.consortium, &self.consortium.manifest);
        let (ids, head) = (self.ids(set), Head::start(manifest));
        let of = |ids: &BTreeSet<NodeId>| -> Vec<usize> {
            ids.iter().filter_map(|id| consortium.index(*id)).collect()
        };
        let keys = of(&ids).into_iter();
        let bundle = keys.map(|k| consortium.sign(k, &consortium.keys(k, &head, 1)));
        let others = &self.ids(self.sites()) - &ids;
        let participants =
            Participants::verify(bundle.collect(), manifest, &head, EPOCH, &others).unwrap();
        let ctx = participants.ctx();
        let sum = |k| -> Signed<Sum> {
            let node = consortium.id(k);
            let (root, tag_commitment) = (node.0, node.0);
            let sum = Sum {
                ctx,
                node,
                root,
                tag_commitment,
            };
            consortium.sign(k, &sum)
        };
        let sums: Vec<_> = of(&self.ids(committed)).into_iter().map(sum).collect();
        let check = SumsCheck {
            announced: ctx,
            participants: &participants,
            own: sums.first(),
            manifest,
            unix_s: EPOCH,
        };
        check.signed(&sums).is_ok()
    }
}

fn named(names: &[&'static str], sites: Sites) -> Set {
    let its = names.iter().enumerate();
    its.filter(|(k, _)| sites >> k & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

fn each(sites: Sites) -> impl Iterator<Item = Sites> {
    (0..Sites::BITS)
        .map(|k| 1 << k)
        .filter(move |site| sites & site != 0)
}

fn subsets_of(sites: Sites) -> impl Iterator<Item = Sites> {
    (0..=sites).filter(move |set| set & !sites == 0)
}

/// The ways to divide these sites.
fn partitions(sites: Sites) -> Vec<Vec<Sites>> {
    let Some(first) = each(sites).next() else {
        return vec![Vec::new()];
    };
    let blocks = subsets_of(sites & !first).map(|others| others | first);
    let parted = blocks.flat_map(|block| {
        let rest = partitions(sites & !block).into_iter();
        rest.map(move |rest| [vec![block], rest].concat())
    });
    parted.collect()
}

/// All consortia that there can be of these sites: of all of them or some, in one cohort or
/// several.
fn consortia(names: &[&'static str], c: usize) -> Vec<Founded> {
    let organisations = |sites: Sites| {
        let letters = named(names, sites).into_iter().map(first_letter);
        letters.collect::<Set>().len()
    };
    let enough = |cohort: &Sites| organisations(*cohort) >= (c + 2).max(3);
    let divided = subsets_of(Sites::MAX >> (Sites::BITS as usize - names.len()))
        .flat_map(partitions)
        .filter(|cohorts| !cohorts.is_empty() && cohorts.iter().all(enough));
    let founded = divided.map(|cohorts| {
        let mode = match cohorts.len() {
            1 => ParticipationMode::All,
            _ => ParticipationMode::Cohorts,
        };
        Founded::new(names, &cohorts, mode, c)
    });
    founded.collect()
}

impl Life {
    /// A hostile relay, and whoever it can lead, each twice that has all sites.
    fn new(names: &[&'static str], c: usize, colluding: &[&str], rules: Rules) -> Self {
        let everyone = Sites::MAX >> (Sites::BITS as usize - names.len());
        let again = consortia(names, c).into_iter();
        let again = again.filter(|founded| founded.sites() == everyone);
        let consortia = consortia(names, c).into_iter().chain(again).collect();
        Self::of(names, consortia, colluding, rules)
    }

    fn of(
        names: &[&'static str],
        consortia: Vec<Founded>,
        colluding: &[&str],
        rules: Rules,
    ) -> Self {
        let colludes = |name: &'static str| colluding.contains(&first_letter(name));
        let bit = |k: usize| Sites::from(colludes(names[k])) << k;
        Self {
            colluding: (0..names.len()).fold(0, |sites, k| sites | bit(k)),
            names: names.to_vec(),
            consortia,
            hostile: true,
            rules,
            sums: 3,
            models: 2,
            accusations: 2,
            admitted: Mutex::default(),
            joined: Mutex::default(),
            uploaded: Mutex::default(),
        }
    }

    fn excluded(state: &Knowledge, consortium: usize) -> Sites {
        state.excluded.get(&consortium).copied().unwrap_or_default()
    }

    /// The sets of which honest nodes take part in a sum.
    fn admitted(&self, state: &Knowledge, consortium: usize) -> Vec<Sites> {
        let founded = &self.consortia[consortium];
        let excluded = Self::excluded(state, consortium);
        // Without proof, accusations tell the relay whom to leave out, and the nodes nothing.
        let convicted = if self.rules.proof { excluded } else { 0 };
        let mut admitted = self.admitted.lock().unwrap();
        let sets = admitted.entry((consortium, excluded)).or_insert_with(|| {
            let sets = subsets_of(founded.sites() & !excluded);
            sets.filter(|set| founded.admits(*set, convicted)).collect()
        });
        sets.clone()
    }

    /// What the relay can ask for, whatever the nodes have given.
    fn offers(&self, state: &Knowledge) -> Vec<JointSum> {
        let used = state.sums.iter().map(|sum| sum.model + 1).max();
        let used = used.unwrap_or_default();
        if !self.hostile {
            // Each round has a model of its own, and whoever is not excluded.
            let set = self.consortia[0].sites() & !Self::excluded(state, 0);
            let sum = JointSum {
                consortium: 0,
                set,
                model: used,
            };
            let admitted = self.admitted(state, 0).contains(&set);
            return admitted.then_some(sum).into_iter().collect();
        }
        let models = 0..=used.min(self.models - 1);
        let sums = (0..self.consortia.len()).flat_map(|consortium| {
            let (sets, models) = (self.admitted(state, consortium), models.clone());
            sets.into_iter().flat_map(move |set| {
                models.clone().map(move |model| JointSum {
                    consortium,
                    set,
                    model,
                })
            })
        });
        sums.collect()
    }

    /// Whether all honest participants take part in this sum.
    fn accepted(&self, state: &Knowledge, sum: JointSum) -> bool {
        each(sum.set & !self.colluding)
            .all(|site| self.joins(state, sum, site) && self.sends_more(state, sum, site))
    }

    /// Whether the record of this node's sums in the consortium allows another one.
    fn sends_more(&self, state: &Knowledge, sum: JointSum, site: Sites) -> bool {
        let founded = &self.consortia[sum.consortium];
        let model = |sum: &JointSum| Digest([sum.model; 32]);
        let its = state
            .sums
            .iter()
            .filter(|sent| sent.consortium == sum.consortium && sent.set & site != 0);
        let mut its: Vec<_> = its.collect();
        // In the order that allows most: the last may go on without whom it excludes.
        its.sort_by_key(|sent| (sent.model == sum.model, u32::MAX - sent.set.count_ones()));
        let mut record = SentSums::default();
        for sent in its {
            record.add(&SentSum::new(model(sent), founded.ids(sent.set)));
        }
        let convicted = founded.ids(Self::excluded(state, sum.consortium));
        record
            .check(model(&sum), &founded.ids(sum.set), &convicted)
            .is_ok()
    }

    /// Whether this node gives sums in the consortium, beside those in which it has given some.
    fn joins(&self, state: &Knowledge, sum: JointSum, site: Sites) -> bool {
        let given = state.sums.iter().filter(|sent| sent.set & site != 0);
        let given: BTreeSet<_> = given.map(|sent| sent.consortium).collect();
        if given.contains(&sum.consortium) {
            return true;
        }
        let with_excluded = |consortium| (consortium, Self::excluded(state, consortium));
        let former: Vec<_> = given.into_iter().map(with_excluded).collect();
        let asked = (former, with_excluded(sum.consortium), site);
        let mut joined = self.joined.lock().unwrap();
        *joined.entry(asked).or_insert_with_key(|(former, next, _)| {
            let roster = |(k, excluded): &(usize, Sites)| self.consortia[*k].roster(*excluded);
            let former: Vec<_> = former.iter().map(roster).collect();
            let own = self.consortia[next.0].ids(site).into_iter().next();
            let manifest = &self.consortia[next.0].consortium.manifest;
            let own = Site::from(manifest.member(own.unwrap()).unwrap());
            (self.rules.joins)(&former, &roster(next), &own)
        })
    }

    /// Whether the honest send their sums.
    fn sends(&self, attempt: OpenAttempt) -> bool {
        let OpenAttempt { sum, committed } = attempt;
        let key = (sum.consortium, sum.set, committed);
        let mut uploaded = self.uploaded.lock().unwrap();
        let sends = || self.consortia[sum.consortium].sends(sum.set, committed);
        !self.rules.all_committed || *uploaded.entry(key).or_insert_with(sends)
    }

    /// Whether each honest node that a consortium promises it to has the history of a node of
    /// another honest organisation. What a consortium promises is for as many as may collude.
    fn hides(&self, state: &Knowledge) -> bool {
        let organisation = |site: Sites| first_letter(self.names[site.trailing_zeros() as usize]);
        let colluding: Set = each(self.colluding).map(organisation).collect();
        let known: Sites = state.sums.iter().fold(0, |all, sum| all | sum.set);
        let history = |site: Sites| state.sums.iter().map(move |sum| sum.set & site != 0);
        let promised = |site: Sites| {
            let mut its = state.sums.iter().filter(|sum| sum.set & site != 0);
            its.any(|sum| self.consortia[sum.consortium].collusion >= colluding.len())
        };
        let honest = known & !self.colluding;
        each(honest).filter(|site| promised(*site)).all(|site| {
            let mut others =
                each(honest).filter(|other| organisation(*other) != organisation(site));
            others.any(|other| history(other).eq(history(site)))
        })
    }
}

impl Model for Life {
    type State = Knowledge;
    type Action = Step;

    fn init_states(&self) -> Vec<Knowledge> {
        vec![Knowledge::default()]
    }

    fn actions(&self, state: &Knowledge, steps: &mut Vec<Step>) {
        let Some(OpenAttempt { sum, committed }) = state.attempt else {
            if state.sums.len() < self.sums {
                let offers = self.offers(state).into_iter();
                let accepted = offers.filter(|sum| self.accepted(state, *sum));
                steps.extend(accepted.map(Step::Open));
            }
            return;
        };
        let uncommitted = sum.set & !committed;
        steps.extend(each(uncommitted).map(Step::Commit));
        let excluded = state.excluded.values().map(|sites| sites.count_ones());
        if excluded.sum::<u32>() < self.accusations {
            steps.extend(each(uncommitted).flat_map(|by| {
                let accused = each(sum.set & !by);
                accused.map(move |accused| Step::Accuse { by, accused })
            }));
        }
        if self.hostile {
            steps.push(Step::Lose);
        }
        if self.hostile || uncommitted == 0 {
            steps.push(Step::Collect);
        }
    }

    fn next_state(&self, state: &Knowledge, step: Step) -> Option<Knowledge> {
        let mut state = state.clone();
        match (step, &mut state.attempt) {
            (Step::Open(sum), _) => {
                let committed = sum.set & !self.colluding;
                state.attempt = Some(OpenAttempt { sum, committed });
            }
            (Step::Commit(site), Some(attempt)) => attempt.committed |= site,
            (Step::Lose, _) => state.attempt = None,
            (Step::Accuse { by, accused }, Some(attempt)) => {
                // The honest seal what opens, so that the accuser is found out.
                let out = if self.rules.proof { by } else { accused };
                *state.excluded.entry(attempt.sum.consortium).or_default() |= out;
                state.attempt = None;
            }
            (Step::Collect, attempt) => {
                let attempt = attempt.take()?;
                if !self.sends(attempt) {
                    return None;
                }
                state.early |= attempt.committed != attempt.sum.set;
                state.sums.insert(attempt.sum);
                if !self.rules.proof {
                    // The round is over.
                    state.excluded.clear();
                }
            }
            (Step::Commit(_) | Step::Accuse { .. }, None) => return None,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HIDDEN, |life: &Self, state| life.hides(state)),
            Property::always(COMMITTED, |_, state: &Knowledge| !state.early),
            Property::sometimes(SUMS, |life: &Self, state: &Knowledge| {
                state.sums.len() == life.sums
            }),
        ]
    }
}

const HIDDEN: &str = "every honest node has the history of another honest organisation";
const COMMITTED: &str = "no sum is open before all have committed themselves";
const SUMS: &str = "as many sums as are looked at come about";

/// What a search has found: the sums of the first state that breaks each property, and how many
/// states there are.
struct Found {
    broken: BTreeMap<&'static str, Vec<Set>>,
    states: usize,
}

fn search(life: Life) -> Found {
    let checker = life.checker().spawn_bfs().join();
    let states = checker.unique_state_count();
    let mut found = checker.discoveries();
    assert!(found.remove(SUMS).is_some(), "not for want of sums");
    let names = &checker.model().names;
    let broken = found.into_iter().map(|(property, path)| {
        let sums = &path.last_state().sums;
        let sums = sums.iter().map(|sum| named(names, sum.set)).collect();
        (property, sums)
    });
    let broken = broken.collect();
    Found { broken, states }
}

/// How many states there are, none of which breaks a property.
fn unbroken(life: Life) -> usize {
    let (names, colluding) = (life.names.clone(), life.colluding);
    let found = search(life);
    let broken = found.broken;
    assert!(broken.is_empty(), "{names:?}, {colluding:b}: {broken:?}");
    found.states
}

/// Up to three sums on two models, of all consortia that there can be, and two accusations; four
/// sums where there are three sites or four, and one accusation where there are six. For every
/// collusion these are 2,383,841 states.
#[test]
fn no_sequence_of_rounds_epochs_and_consortia_sets_a_node_apart() {
    let mut states = 0;
    for n in 3..=6 {
        for c in 0..=n - 2 {
            let mut life = Life::new(&NAMES[..n], c, &NAMES[..c], NEW);
            life.sums = if n < 5 { 4 } else { 3 };
            life.accusations = if n < 6 { 2 } else { 1 };
            states += unbroken(life);
        }
    }
    assert!(states > 2_000_000, "{states}");
}

/// 10,235 states.
#[test]
fn nor_does_one_where_organisations_have_several_nodes() {
    let names = ["a1", "a2", "b", "c", "d"];
    let colluding: [&[&str]; 2] = [&["a"], &["b"]];
    let states = colluding.map(|colluding| {
        let mut life = Life::new(&names, 1, colluding, NEW);
        life.accusations = 1;
        unbroken(life)
    });
    assert!(states.iter().sum::<usize>() > 10_000, "{states:?}");
}

/// 86,483 states.
#[test]
fn nor_does_one_of_consortia_that_expect_more_to_collude_and_fewer() {
    let names = &NAMES[..5];
    let colluding: [&[&str]; 2] = [&["a"], &["a", "b"]];
    let states = colluding.map(|colluding| {
        let all = [consortia(names, 1), consortia(names, 2)];
        let all = all.into_iter().flatten().collect();
        let mut life = Life::of(names, all, colluding, NEW);
        life.accusations = 1;
        unbroken(life)
    });
    assert!(states.iter().sum::<usize>() > 80_000, "{states:?}");
}

/// One consortium of five, in which `a` colludes with nobody, the relay being honest.
fn alone(mode: ParticipationMode, proof: bool) -> Found {
    let names = &NAMES[..5];
    let founded = Founded::new(names, &[0b11111], mode, 1);
    let mut life = Life::of(names, vec![founded], &["a"], Rules { proof, ..NEW });
    life.hostile = false;
    search(life)
}

/// It holds the model still, accuses another, and has that one's input as a difference.
#[test]
fn former_rules_have_the_attack_of_a_participant_that_accuses() {
    use ParticipationMode::{All, Any};
    let found = alone(Any, false);
    let sums = &found.broken[HIDDEN];
    let (colluding, victim, _) = apart(sums, first_letter, 1).unwrap();
    assert!(colluding.is_empty() && victim != "a", "{sums:?}");
    // Where it must prove it, it is itself who is left out; where all take part, nobody is.
    for (mode, proof) in [(Any, true), (All, false), (All, true)] {
        assert!(alone(mode, proof).broken.is_empty(), "{mode:?}, {proof}");
    }
}

/// The relay has the honest open their sums to it before its participant has made its own.
#[test]
fn former_rules_have_the_attack_of_a_participant_that_commits_last() {
    let search = |colluding: &[&str], all_committed| {
        let rules = Rules {
            all_committed,
            ..NEW
        };
        let mut life = Life::new(&NAMES[..4], 1, colluding, rules);
        life.sums = 1;
        search(life).broken
    };
    let broken = search(&["a"], false);
    assert!(broken.contains_key(COMMITTED) && !broken.contains_key(HIDDEN));
    assert!(search(&["a"], true).is_empty());
    assert!(search(&[], false).is_empty(), "the relay alone");
}

/// The relay alone founds a consortium of the same nodes without one of them.
#[test]
fn former_rules_have_the_attack_of_a_second_consortium() {
    let anything = |_: &[Roster], _: &Roster, _: &Site| true;
    for n in 4..=6 {
        let search = |joins| {
            let mut life = Life::new(&NAMES[..n], 1, &[], Rules { joins, ..NEW });
            life.sums = 2;
            search(life).broken
        };
        let broken = search(anything);
        let sums = &broken[HIDDEN];
        assert!(apart(sums, first_letter, 0).is_some(), "{sums:?}");
        assert!(search(NEW.joins).is_empty());
    }
}

/// Two consortia leave a third, neither knowing of the other: no node is in all of them, or only
/// one that colludes. Beside each other one, each of the three is whole.
#[test]
fn what_single_nodes_know_of_consortia_is_too_little() {
    let search = |n, c, colluding: &[&str], leave: [Sites; 2], joins| {
        let names = &NAMES[..n];
        let founded = [Sites::MAX >> (Sites::BITS as usize - n), leave[0], leave[1]]
            .map(|all| Founded::new(names, &[all], ParticipationMode::All, c));
        let rules = Rules { joins, ..NEW };
        let broken = search(Life::of(names, founded.into(), colluding, rules)).broken;
        let sums = broken.get(HIDDEN)?;
        let (_, left, _) = apart(sums, first_letter, c).unwrap();
        Some(left)
    };
    let knows: fn(&[Roster], &Roster, &Site) -> bool =
        |former, next, _| set_apart(former, next).is_empty();
    let holds: fn(&[Roster], &Roster, &Site) -> bool =
        |former, next, own| regrouped(former, next, own).is_empty();
    let leave = [0b000_0111, 0b011_1000];
    assert_eq!(search(7, 0, &[], leave, knows), Some("g"));
    assert_eq!(search(7, 0, &[], leave, holds), None);
    let leave = [0b00_1101, 0b11_0001];
    assert!(search(6, 1, &["a"], leave, knows).is_some());
    assert_eq!(search(6, 1, &["a"], leave, holds), None);
}
