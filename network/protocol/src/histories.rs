//! Whom one more consortium on the same data sets apart.
//!
//! The property of the protocol's section 0 knows no consortia: whoever knows the sums of two can
//! combine them like those of one. A cohort takes part as a whole, and its sums are all that a
//! relay can have of its nodes. So the history of a node is its cohort in each consortium, and what
//! is said of each consortium holds beside all the others exactly if the nodes of each history are
//! of c + 2 organisations at least, c being the greatest collusion of the consortia that they are
//! in. Where any nodes may take part, the relay can have each of them missing from a sum, and each
//! has a history of its own.
//!
//! A node that is asked into another consortium knows of those in which it has given sums.
//! [`set_apart`] says whose updates these would give away together with the next, as far as this
//! node can know. As the others know of more, it takes [`regrouped`] as well: a node's cohort is
//! for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::NodeId;
use crate::manifest::{Manifest, Member, Organisation, is_name};

/// A node over all consortia that it is in, whatever keys it has there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Site {
    organisation: Organisation,
    /// What manifests call the node.
    name: String,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.organisation)
    }
}

impl From<&Member> for Site {
    fn from(member: &Member) -> Self {
        Self {
            organisation: member.organisation.clone(),
            name: member.name.clone(),
        }
    }
}

/// Who gives sums in a consortium, and with whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Roster {
    /// Disjoint, and none empty; all sites in one, if any of them may take part.
    cohorts: Vec<BTreeSet<Site>>,
    /// How many organisations may collude without learning more than the sum.
    collusion: u32,
    /// Whether the relay chooses who takes part.
    any: bool,
}

/// A roster as it is encoded, sites in ascending order. It is shorter than the manifest.
#[derive(Serialize, Deserialize)]
struct Fields {
    cohorts: Vec<Vec<Site>>,
    collusion: u32,
    any: bool,
}

/// Bytes that are no roster's.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// Nobody takes part, or nobody in some cohort.
    #[error("a cohort without nodes")]
    Empty,
    /// A node that takes part twice.
    #[error("{0} is listed twice")]
    Twice(Site),
    /// Not the name of a node.
    #[error("{0:?} cannot name a node")]
    Name(String),
    /// Cohorts, and yet the relay chooses.
    #[error("there are cohorts where any nodes may take part")]
    Cohorts,
}

impl Roster {
    /// Returns who gives sums in the consortium of this manifest, but for those that are
    /// `convicted` of a lie there: they are not honest, so that the honest participants are the
    /// same without them, and whoever goes on without them sets nobody apart.
    pub fn new(manifest: &Manifest, convicted: &BTreeSet<NodeId>) -> Self {
        let site = |id: &NodeId| manifest.roster().get(id).map(Site::from);
        let sites = |ids: BTreeSet<NodeId>| ids.iter().filter_map(site).collect::<BTreeSet<_>>();
        let everyone = manifest.roster().keys().copied().collect();
        let cohorts = manifest.participation().whole(&everyone, convicted);
        let any = manifest.participation().is_any();
        let cohorts = cohorts.into_iter().map(|cohort| sites(&cohort - convicted));
        Self {
            cohorts: cohorts.filter(|cohort| !cohort.is_empty()).collect(),
            collusion: u32::try_from(manifest.collusion()).unwrap_or(u32::MAX),
            any,
        }
    }

    /// The cohort of this site, if it is in the consortium.
    fn cohort_of(&self, site: &Site) -> Option<&BTreeSet<Site>> {
        let mut cohorts = self.cohorts.iter();
        cohorts.find(|cohort| cohort.contains(site))
    }
}

impl From<Roster> for Fields {
    fn from(roster: Roster) -> Self {
        let cohorts = roster.cohorts.into_iter();
        Self {
            cohorts: cohorts.map(|cohort| cohort.into_iter().collect()).collect(),
            collusion: roster.collusion,
            any: roster.any,
        }
    }
}

impl TryFrom<Fields> for Roster {
    type Error = RosterError;

    fn try_from(fields: Fields) -> Result<Self, RosterError> {
        if fields.cohorts.is_empty() || fields.cohorts.iter().any(Vec::is_empty) {
            return Err(RosterError::Empty);
        }
        if fields.any && fields.cohorts.len() > 1 {
            return Err(RosterError::Cohorts);
        }
        let mut found = BTreeSet::new();
        for site in fields.cohorts.iter().flatten() {
            if !is_name(&site.name) {
                return Err(RosterError::Name(site.name.clone()));
            }
            if !found.insert(site) {
                return Err(RosterError::Twice(site.clone()));
            }
        }
        let cohorts = fields.cohorts.into_iter();
        Ok(Self {
            cohorts: cohorts.map(BTreeSet::from_iter).collect(),
            collusion: fields.collusion,
            any: fields.any,
        })
    }
}

/// What a site hides behind.
#[derive(Clone, Copy)]
struct Shelter {
    /// Organisations of the nodes that share its history.
    organisations: usize,
    /// How many it takes.
    needed: usize,
}

impl Shelter {
    fn holds(self) -> bool {
        self.organisations >= self.needed
    }
}

/// Returns the sites that `next` sets apart beside `former`, the consortia in which this node has
/// given sums: those behind whose history too few organisations stand then, and which were better
/// off without it. A site of `former` was as it was there; a newcomer as it would be if there were
/// no other consortium than `next`. Thus nobody is listed for what the manifests themselves accept,
/// or for what others have given away before, unless even fewer organisations are left.
///
/// Nobody is listed where nothing can be learned beyond what each consortium shows. A site that is
/// listed need not be one of `next`: it may be left over.
pub fn set_apart(former: &[Roster], next: &Roster) -> BTreeSet<Site> {
    let before = shelters(former);
    let alone = shelters(std::slice::from_ref(next));
    let all = [former, std::slice::from_ref(next)].concat();
    let after = shelters(&all).into_iter();
    let listed = after.filter(|(site, after)| {
        let before = before.get(site).or(alone.get(site));
        let better =
            |before: &Shelter| before.holds() || before.organisations > after.organisations;
        !after.holds() && before.is_some_and(better)
    });
    listed.map(|(site, _)| site.clone()).collect()
}

/// Returns with whom `own` is in a cohort of one of `former` and not of `next`, or the reverse, if
/// it is in both.
///
/// A node that sees nobody [`set_apart`] may be wrong, since others know of consortia that it does
/// not know of: let {a, c, d} leave {a … f}, and {a, e, f}, and let nobody but a, which colludes,
/// know of both. Then b is what is left. If every node holds to its cohort for good, the cohorts of
/// all consortia are equal or disjoint, whoever knows of them, and each history is that of a whole
/// cohort.
pub fn regrouped(former: &[Roster], next: &Roster, own: &Site) -> BTreeSet<Site> {
    let Some(cohort) = next.cohort_of(own) else {
        return BTreeSet::new();
    };
    let former = former.iter().filter_map(|roster| roster.cohort_of(own));
    former.flat_map(|former| former ^ cohort).collect()
}

/// Returns what each site hides behind if these consortia give all the sums that they can.
fn shelters(rosters: &[Roster]) -> BTreeMap<&Site, Shelter> {
    // A site's history: each consortium that it is in, with its cohort there.
    let mut histories: BTreeMap<&Site, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, roster) in rosters.iter().enumerate() {
        for (place, cohort) in roster.cohorts.iter().enumerate() {
            for site in cohort {
                histories.entry(site).or_default().push((number, place));
            }
        }
    }
    let mut organisations: BTreeMap<&[(usize, usize)], BTreeSet<&Organisation>> = BTreeMap::new();
    for (site, history) in &histories {
        let found = organisations.entry(history).or_default();
        found.insert(&site.organisation);
    }
    let shelter = |history: &[(usize, usize)]| {
        let consortia = history.iter().map(|(number, _)| &rosters[*number]);
        let collusion = consortia.clone().map(|roster| roster.collusion).max();
        let of_its_own = consortia.clone().any(|roster| roster.any);
        Shelter {
            organisations: match of_its_own {
                true => 1,
                false => organisations[history].len(),
            },
            needed: (collusion.unwrap_or_default() as usize).saturating_add(2),
        }
    };
    histories
        .iter()
        .map(|(site, history)| (*site, shelter(history)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{CohortTable, ManifestFile, ParticipationMode};
    use crate::sim::Consortium;
    use crate::wire;

    fn site(name: &str) -> Site {
        Site {
            organisation: Organisation::new(&name[..1]).unwrap(),
            name: name.to_owned(),
        }
    }

    fn sites(names: &str) -> BTreeSet<Site> {
        names.split_whitespace().map(site).collect()
    }

    /// Cohorts, with a bar between them. Nodes `a1` and `a2` are run by `a`.
    fn roster(cohorts: &str, collusion: u32) -> Roster {
        Roster {
            cohorts: cohorts.split('|').map(sites).collect(),
            collusion,
            any: false,
        }
    }

    fn any(names: &str, collusion: u32) -> Roster {
        let any = true;
        Roster {
            any,
            ..roster(names, collusion)
        }
    }

    #[test]
    fn known_answers_of_two_consortia() {
        let known = [
            ("the same again", "a b c d", "a b c d", 1, ""),
            ("founded anew without d", "a b c d", "a b c", 1, "d"),
            ("e joins", "a b c d", "a b c d e", 1, "e"),
            ("three join", "a b c d", "a b c d e f g", 1, ""),
            ("two join", "a b c d", "a b c d e f", 1, "e f"),
            ("two leave", "a b c d e f", "a b c d", 1, "e f"),
            ("three leave", "a b c d e f", "a b c", 1, ""),
            ("d leaves, e comes", "a b c d", "a b c e", 1, "d e"),
            (
                "two cohorts become one",
                "a b c | d e f",
                "a b c d e f",
                1,
                "",
            ),
            ("one divides in two", "a b c d e f", "a b c | d e f", 1, ""),
            (
                "cohorts change",
                "a b c | d e f",
                "a b d | c e f",
                1,
                "a b c d e f",
            ),
            ("half of each", "a b c | d e f", "a b c d e", 1, "d e f"),
            ("others altogether", "a b c", "d e f", 1, ""),
            ("a node of a is missing", "a1 a2 b c d", "a1 b c d", 1, "a2"),
            ("all nodes of all", "a1 a2 b c d", "a1 a2 b c d", 1, ""),
            (
                "three nodes, two organisations",
                "a b c d1 d2 e",
                "a b c",
                1,
                "d1 d2 e",
            ),
            ("b leaves, c takes its place", "a b", "a c", 0, "a b c"),
            ("nobody colludes", "a b c d", "a b c d e f", 0, ""),
        ];
        for (what, former, next, c, apart) in known {
            let found = set_apart(&[roster(former, c)], &roster(next, c));
            assert_eq!(found, sites(apart), "{what}");
            assert!(set_apart(&[], &roster(next, c)).is_empty(), "{what}");
        }
    }

    #[test]
    fn the_greatest_collusion_of_a_sites_own_consortia_counts() {
        // Three are enough beside one that colludes, and too few beside two.
        let former = roster("a b c d e f g", 1);
        assert!(set_apart(std::slice::from_ref(&former), &roster("a b c d", 2)).is_empty());
        let two = set_apart(&[former], &roster("a b c d | e f g", 2));
        assert_eq!(two, sites("e f g"));
        // What the next promises must hold beside what was given before.
        let found = set_apart(&[roster("a b c", 1)], &roster("a b c d", 2));
        assert_eq!(found, sites("a b c d"));
        let most = roster("a b c d", u32::MAX);
        assert_eq!(set_apart(&[roster("a b c", 1)], &most), sites("a b c d"));
    }

    #[test]
    fn three_consortia_can_break_what_each_two_leave_whole() {
        let rosters = ["a b c d e f g h i", "a b c d e f", "d e f g h i"];
        let [all, first, second] = rosters.map(|names| roster(names, 1));
        for two in [[&all, &first], [&all, &second], [&first, &second]] {
            assert!(set_apart(&[two[0].clone()], two[1]).is_empty());
        }
        assert!(set_apart(&[all.clone(), first.clone()], &second).is_empty());
        let across = roster("a d g b e h", 1);
        assert!(set_apart(std::slice::from_ref(&all), &across).is_empty());
        let former = [all, first, second];
        assert_eq!(set_apart(&former, &across), sites("a b c d e f g h i"));
    }

    #[test]
    fn who_holds_to_its_cohort_sees_who_comes_and_who_goes() {
        let regrouped =
            |former: &[Roster], next: &str| regrouped(former, &roster(next, 1), &site("a"));
        let former = roster("a b c | d e f", 1);
        for next in ["a b c", "a b c | d e g", "d e f | g h i | a b c", "d e f g"] {
            assert!(regrouped(std::slice::from_ref(&former), next).is_empty());
            assert!(regrouped(&[], next).is_empty());
        }
        let found = regrouped(std::slice::from_ref(&former), "a b d e | c f g");
        assert_eq!(found, sites("c d e"));
        let former = [former, roster("a b c d e f", 1)];
        assert_eq!(regrouped(&former, "a b c"), sites("d e f"));
    }

    #[test]
    fn what_is_broken_already_is_no_news_unless_fewer_are_left() {
        // d is known by a consortium that was founded without it; the others are not.
        let former = [roster("a b c d", 1), roster("a b c", 1)];
        assert!(set_apart(&former, &roster("a b c", 1)).is_empty());
        assert!(set_apart(&former, &roster("a b c d", 1)).is_empty());
        assert_eq!(set_apart(&former, &roster("a b c e", 1)), sites("e"));
        // Beside two that collude e, f and g are too few, and g alone would be fewer.
        let former = [roster("a b c d e f g", 2), roster("a b c d", 2)];
        assert!(set_apart(&former, &roster("a b c d", 2)).is_empty());
        assert_eq!(set_apart(&former, &roster("a b c d g", 2)), sites("e f g"));
    }

    #[test]
    fn where_any_may_take_part_nobody_hides_who_was_promised_to() {
        let promised = roster("a b c d", 1);
        let found = set_apart(std::slice::from_ref(&promised), &any("a b c d", 1));
        assert_eq!(found, sites("a b c d"));
        // Who was in no other consortium accepts it, and those that are left over are enough.
        let found = set_apart(&[roster("a b c d e f", 1)], &any("a b c g", 1));
        assert_eq!(found, sites("a b c"));
        assert!(set_apart(&[], &any("a b c d", 1)).is_empty());
        // Each has accepted it before; newcomers stand alone beside what is known.
        let former = [any("a b c d", 1)];
        assert!(set_apart(&former, &promised).is_empty());
        assert!(set_apart(&former, &any("a b c d", 1)).is_empty());
        assert_eq!(set_apart(&former, &roster("a b c d e", 1)), sites("e"));
        assert!(set_apart(&former, &roster("a b c d e f g", 1)).is_empty());
    }

    fn named(file: &mut ManifestFile) {
        for (node, name) in file.nodes.iter_mut().zip(["a", "b", "c", "d", "e", "f"]) {
            (node.name, node.organisation) = (name.to_owned(), name.to_uppercase());
        }
        (file.participation, file.accepts_differences) = (ParticipationMode::All, false);
    }

    #[test]
    fn a_roster_is_what_the_manifest_says_whatever_keys_and_spelling_it_has() {
        let (none, everyone) = (BTreeSet::new(), "a b c d e f");
        let all = Consortium::with(6, named);
        assert_eq!(Roster::new(&all.manifest, &none), roster(everyone, 1));
        let any_of_them = Consortium::with(6, |file| {
            named(file);
            (file.participation, file.accepts_differences) = (ParticipationMode::Any, true);
        });
        assert_eq!(Roster::new(&any_of_them.manifest, &none), any(everyone, 1));
        let cohorts = Consortium::with(6, |file| {
            named(file);
            let cohort = |names: [&str; 3]| CohortTable {
                nodes: names.map(str::to_owned).to_vec(),
            };
            file.participation = ParticipationMode::Cohorts;
            file.cohorts = vec![cohort(["a", "b", "c"]), cohort(["d", "e", "f"])];
        });
        let divided = Roster::new(&cohorts.manifest, &none);
        assert_eq!(divided, roster("a b c | d e f", 1));
        assert!(set_apart(&[Roster::new(&all.manifest, &none)], &divided).is_empty());
        // Who was convicted is not among those that give sums.
        let lied = |consortium: &Consortium| {
            let liar = BTreeSet::from([consortium.id(5)]);
            Roster::new(&consortium.manifest, &liar)
        };
        assert_eq!(lied(&all), roster("a b c d e", 1));
        assert_eq!(lied(&any_of_them), any("a b c d e", 1));
        assert_eq!(lied(&cohorts), roster("a b c | d e", 1));
        // They found a consortium without the liar, with new keys. Had it not lied, it would be set
        // apart.
        let anew = Consortium::with(5, named);
        let anew = Roster::new(&anew.manifest, &none);
        assert!(set_apart(&[lied(&all)], &anew).is_empty());
        let unproven = Roster::new(&all.manifest, &none);
        assert_eq!(set_apart(&[unproven], &anew), sites("f"));
    }

    #[test]
    fn rosters_are_read_as_written_and_what_cannot_be_is_refused() {
        for roster in [roster("a b c | d e f", 1), any("a1 a2 b c", 2)] {
            let bytes = wire::encode(&roster).unwrap();
            assert_eq!(wire::decode::<Roster>(&bytes).unwrap(), roster);
            for length in 0..bytes.len() {
                assert!(wire::decode::<Roster>(&bytes[..length]).is_err());
            }
        }
        let refused = |cohorts: &[&[&str]], any: bool, reason: &str| {
            let cohorts = cohorts.iter().map(|cohort| {
                let sites = cohort.iter().map(|name| Site {
                    organisation: Organisation::new("St. Mary").unwrap(),
                    name: (*name).to_owned(),
                });
                sites.collect()
            });
            let fields = Fields {
                cohorts: cohorts.collect(),
                collusion: 1,
                any,
            };
            let bytes = wire::encode(&fields).unwrap();
            let error = wire::decode::<Roster>(&bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        refused(&[], false, "without nodes");
        refused(&[&["a"], &[]], false, "without nodes");
        refused(&[&["a", "b", "a"]], false, "a of St. Mary is listed twice");
        refused(&[&["a", "b"], &["c", "b"]], false, "listed twice");
        refused(&[&["a"], &["b"]], true, "there are cohorts");
        refused(&[&["../a"]], false, "cannot name a node");
        // A length that goes beyond the end, and a name that does not print.
        assert!(wire::decode::<Roster>(&u64::MAX.to_le_bytes()).is_err());
        let unprintable = (vec![vec![("\u{202e}", "a")]], 1_u32, false);
        let bytes = wire::encode(&unprintable).unwrap();
        let error = wire::decode::<Roster>(&bytes).unwrap_err().to_string();
        assert!(error.contains("which print"), "{error}");
    }
}
