//! The manifest as written: TOML tables, and the checks that make a [`Manifest`](super::Manifest)
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use fl_shaders::{FixedPoint, Parameters, Ring};
use serde::{Deserialize, Serialize};

use super::Member;
use super::organisation::Organisation;
use super::pace::Pace;
use super::participation::{CohortTable, ParticipationMode};
use super::scheme::{CommitteeTable, Scheme};
use crate::digest::Digest;
use crate::error::{IdentityError, ManifestError};
use crate::identity::{NodeId, PublicKey};
use crate::metrics::Metrics;

const PROTOCOL: &str = "smpcfl/2";
const SUITE: u16 = 2;
const MAX_NAME_BYTES: usize = 64;
const MAX_PARAMETERS: u64 = u32::MAX as u64;

/// o: the fewest organisations, and so the fewest nodes, of which `collusion` can collude and still
/// learn no more than the sum of several others (the protocol, section 1).
pub fn min_organisations(collusion: u32) -> u32 {
    collusion.saturating_add(2).max(3)
}

/// A manifest as it stands in `manifest.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// `smpcfl/2`.
    pub protocol: String,
    /// Cipher suite: 2.
    pub suite: u16,
    /// Name of the consortium.
    pub name: String,
    /// Counts up with every new manifest of the consortium.
    pub epoch: u32,
    /// SHA-256 of the previous epoch's manifest, in hexadecimal; absent in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_epoch: Option<String>,
    /// Check value of the epoch key that every node's kit holds: [`epoch_key_check`], in
    /// hexadecimal.
    pub epoch_key: String,
    /// SHA-256 of the task, in hexadecimal: what is learned and how, which stands in the nodes'
    /// kits and in no other.
    pub task: String,
    /// How updates are shared.
    pub scheme: Scheme,
    /// How updates are averaged.
    pub averaging: AveragingRule,
    /// How many participants may collude with the relay.
    pub collusion: u32,
    /// Least number of participants in a round.
    pub min_nodes: u32,
    /// Who takes part in a round.
    pub participation: ParticipationMode,
    /// Whether the consortium accepts that differences of sums tell single nodes' updates; with
    /// `any` only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts_differences: bool,
    /// Who takes part together; with `cohorts` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cohorts: Vec<CohortTable>,
    /// Who holds the seeds; in the committee scheme only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committee: Option<CommitteeTable>,
    /// Where the relay is.
    pub relay: RelayTable,
    /// The numbers of the fixed-point encoding.
    pub fixed_point: PlanTable,
    /// How long to wait for what.
    pub timeouts: TimeoutTable,
    /// What a node holds itself and the others to.
    pub limits: LimitTable,
    /// What is counted of the model.
    pub metrics: Metrics,
    /// The model's parameters.
    pub model: ModelTable,
    /// The participants.
    pub nodes: Vec<NodeTable>,
}

/// How updates are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AveragingRule {
    /// Federated averaging: the mean of the updates, weighted by numbers of training examples.
    Fedavg,
}

/// Where the relay is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayTable {
    /// `host:port` at which nodes reach it.
    pub address: String,
}

/// The numbers of the fixed-point encoding; see [`FixedPoint`]. Its n_max and T are none of them,
/// since they follow from the nodes and from the metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanTable {
    /// Ring of the words: `u32` or `u64`.
    pub ring: RingName,
    /// C: coordinates of an update are clamped to −C..=C.
    pub clip: f32,
    /// f: fraction bits of an encoded coordinate.
    pub fraction_bits: u32,
    /// N_max: the most participants of a round.
    pub nodes_max: u32,
}

/// Name of a ring in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingName {
    /// Integers modulo 2^32.
    U32,
    /// Integers modulo 2^64.
    U64,
}

impl PlanTable {
    /// The table that describes `plan`.
    pub fn of(plan: &FixedPoint) -> Self {
        Self {
            ring: match plan.ring() {
                Ring::U32 => RingName::U32,
                Ring::U64 => RingName::U64,
            },
            clip: plan.clip(),
            fraction_bits: plan.fraction_bits(),
            nodes_max: plan.nodes_max(),
        }
    }

    /// Checks the numbers, for nodes of at most `examples_max` = n_max examples, and for so many
    /// tallies.
    fn check(&self, examples_max: u32, tallies: u32) -> Result<FixedPoint, ManifestError> {
        let ring = match self.ring {
            RingName::U32 => Ring::U32,
            RingName::U64 => Ring::U64,
        };
        Ok(FixedPoint::new(Parameters {
            ring,
            clip: self.clip,
            fraction_bits: self.fraction_bits,
            nodes_max: self.nodes_max,
            examples_max,
            tallies,
        })?)
    }
}

/// How long to wait for what, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeoutTable {
    /// Local training, from the opening of a round; afterwards the round goes on with whoever is
    /// ready.
    pub training_s: u64,
    /// Round keys, once training is done.
    pub keys_s: u64,
    /// Sealed shares.
    pub shares_s: u64,
    /// Masked sums, beside the time that the bytes take at the minimum bandwidth.
    pub sums_s: u64,
    /// Acknowledgement of the result.
    pub result_s: u64,
    /// Bandwidth that every participant has at the least, in bytes a second.
    pub minimum_bandwidth_bytes_per_s: u64,
}

impl TimeoutTable {
    /// The slowest that a body may arrive, after a grace of `grace_s` seconds.
    pub fn pace(&self, grace_s: u64) -> Pace {
        let rate = NonZeroU64::new(self.minimum_bandwidth_bytes_per_s);
        Pace {
            grace: Duration::from_secs(grace_s),
            bytes_per_second: rate.unwrap_or(NonZeroU64::MIN),
        }
    }
}

impl Default for TimeoutTable {
    fn default() -> Self {
        Self {
            training_s: 600,
            keys_s: 10,
            shares_s: 15,
            sums_s: 30,
            result_s: 60,
            minimum_bandwidth_bytes_per_s: 1_000_000,
        }
    }
}

/// What a node holds itself and the others to, so that nobody steers the model far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTable {
    /// S: the L2 norm to which a node shortens its update where that is longer, above 0. The node
    /// ends if a round moves the model further.
    pub update_norm: f64,
    /// A node ends if the model's mean loss on its held-back rows is this much above the lowest
    /// that it has seen, in nats, above 0.
    pub loss_rise: f64,
}

impl Default for LimitTable {
    /// Training of the built-in models with the usual settings moves them by up to 8.6 in the first
    /// round on the embedded digits, by 2.7 on the embedded tumours, and by less and less after it.
    fn default() -> Self {
        Self {
            update_norm: 10.0,
            loss_rise: 1.0,
        }
    }
}

/// The model's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// [`model_hash`](crate::digest::model_hash) of the initial model, in hexadecimal.
    pub initial: String,
    /// Names and shapes in the order of the flat vector.
    pub layout: Vec<TensorLayout>,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorLayout {
    /// Path of the tensor in the module, for example `hidden.0.weight`.
    pub name: String,
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorLayout {
    /// Returns the number of elements, saturating.
    pub fn parameters(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |product: usize, extent| product.saturating_mul(*extent))
    }
}

/// One participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// Name, unique in the manifest.
    pub name: String,
    /// Organisation that runs it. Upper and lower case and white space tell none from another.
    pub organisation: String,
    /// Ed25519 public key in hexadecimal.
    pub key: String,
    /// The most training examples that it has. All participants see this figure.
    pub examples_max: u32,
    /// Until when it may take part, in seconds of Unix time.
    pub expires_unix_s: u64,
}

/// The check value of an epoch key: SHA-256 of `"smpcfl/2 epoch key"` and the key.
pub fn epoch_key_check(key: &[u8; 32]) -> Digest {
    Digest::sha256(&[b"smpcfl/2 epoch key", key])
}

impl ManifestFile {
    /// Returns a first-epoch manifest of the peer scheme, with `collusion` 1, the least
    /// `min_nodes`, every node in every round, and the default timeouts, limits and metrics.
    pub fn new(
        name: String,
        relay_address: String,
        epoch_key: Digest,
        plan: &FixedPoint,
        task: Digest,
        model: ModelTable,
        nodes: Vec<NodeTable>,
    ) -> Self {
        Self {
            protocol: PROTOCOL.to_owned(),
            suite: SUITE,
            name,
            epoch: 1,
            previous_epoch: None,
            epoch_key: epoch_key.to_hex(),
            task: task.to_hex(),
            scheme: Scheme::Peer,
            averaging: AveragingRule::Fedavg,
            collusion: 1,
            min_nodes: 3,
            participation: ParticipationMode::All,
            accepts_differences: false,
            cohorts: Vec::new(),
            committee: None,
            relay: RelayTable {
                address: relay_address,
            },
            fixed_point: PlanTable::of(plan),
            timeouts: TimeoutTable::default(),
            limits: LimitTable::default(),
            metrics: Metrics::default(),
            model,
            nodes,
        }
    }

    /// Checks all but the roster and the fixed-point plan.
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        if self.protocol != PROTOCOL || self.suite != SUITE {
            let protocol = self.protocol.clone();
            return Err(ManifestError::Protocol {
                protocol,
                suite: self.suite,
            });
        }
        let (min_nodes, needed) = (self.min_nodes, min_organisations(self.collusion));
        if min_nodes < needed {
            return Err(ManifestError::MinNodes { min_nodes, needed });
        }
        if let Some(previous) = &self.previous_epoch {
            digest("previous_epoch", previous)?;
        }
        self.check_timeouts()?;
        for (name, value) in [
            ("update_norm", self.limits.update_norm),
            ("loss_rise", self.limits.loss_rise),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ManifestError::Limit { name, value });
            }
        }
        self.metrics.check()?;
        self.check_layout()
    }

    /// Checks the numbers of the fixed-point plan, in which n_max is the largest figure of a node.
    pub(super) fn plan(&self) -> Result<FixedPoint, ManifestError> {
        let figures = self.nodes.iter().map(|node| node.examples_max);
        let examples_max = figures.max().unwrap_or_default();
        self.fixed_point.check(examples_max, self.metrics.tallies())
    }

    fn check_timeouts(&self) -> Result<(), ManifestError> {
        let t = &self.timeouts;
        for (name, value) in [
            ("training_s", t.training_s),
            ("keys_s", t.keys_s),
            ("shares_s", t.shares_s),
            ("sums_s", t.sums_s),
            ("result_s", t.result_s),
            (
                "minimum_bandwidth_bytes_per_s",
                t.minimum_bandwidth_bytes_per_s,
            ),
        ] {
            if value == 0 {
                return Err(ManifestError::Timeout(name));
            }
        }
        Ok(())
    }

    fn check_layout(&self) -> Result<(), ManifestError> {
        let mut names = BTreeSet::new();
        let mut parameters = 0u64;
        for entry in &self.model.layout {
            if entry.name.is_empty() {
                let text = "a tensor has no name".to_owned();
                return Err(ManifestError::Layout(text));
            }
            if !names.insert(&entry.name) {
                return Err(ManifestError::Layout(format!(
                    "{} stands in it twice",
                    entry.name
                )));
            }
            parameters = parameters.saturating_add(entry.parameters() as u64);
        }
        if parameters == 0 {
            return Err(ManifestError::Layout("it has no parameters".to_owned()));
        }
        if parameters > MAX_PARAMETERS {
            let text = format!("it has more than {MAX_PARAMETERS} parameters");
            return Err(ManifestError::Layout(text));
        }
        Ok(())
    }

    /// Checks the nodes.
    pub(super) fn roster(&self) -> Result<BTreeMap<NodeId, Member>, ManifestError> {
        let nodes_max = self.fixed_point.nodes_max.min(self.scheme.max_nodes());
        if self.nodes.len() < self.min_nodes as usize || self.nodes.len() > nodes_max as usize {
            let (nodes, min_nodes) = (self.nodes.len(), self.min_nodes);
            return Err(ManifestError::Nodes {
                nodes,
                min_nodes,
                nodes_max,
            });
        }
        let mut roster = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut organisations = BTreeSet::new();
        for node in &self.nodes {
            let refuse = |reason: &str| ManifestError::Node {
                name: node.name.clone(),
                reason: reason.to_owned(),
            };
            if !is_name(&node.name) {
                return Err(refuse(
                    "names have 1 to 64 letters, digits, dots, dashes, underscores",
                ));
            }
            if !names.insert(&node.name) {
                return Err(refuse("this name is taken by another node"));
            }
            if node.examples_max == 0 {
                return Err(refuse("examples_max is 0, and it must have an example"));
            }
            let organisation = Organisation::new(&node.organisation).ok_or_else(|| {
                refuse("organisations have 1 to 256 bytes of characters that print")
            })?;
            organisations.insert(organisation.clone());
            let bytes = digest("nodes.key", &node.key)?;
            let key =
                PublicKey::from_bytes(bytes.as_bytes()).map_err(|source| ManifestError::Field {
                    field: "nodes.key",
                    source,
                })?;
            let id = key.node_id();
            let member = Member {
                id,
                name: node.name.clone(),
                organisation,
                key,
                examples_max: node.examples_max,
                expires_unix_s: node.expires_unix_s,
            };
            if roster.insert(id, member).is_some() {
                return Err(refuse("this key is used by another node"));
            }
        }
        let needed = min_organisations(self.collusion);
        if organisations.len() < needed as usize {
            let found = organisations.len();
            return Err(ManifestError::Organisations { found, needed });
        }
        Ok(roster)
    }
}

/// Returns whether `name` can name a node and its kit's folder.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('.')
}

pub(super) fn digest(field: &'static str, text: &str) -> Result<Digest, ManifestError> {
    text.parse::<Digest>()
        .map_err(IdentityError::from)
        .map_err(|source| ManifestError::Field { field, source })
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;
    use crate::identity::Identity;
    use crate::sim::manifest_file;

    fn signed(change: impl FnOnce(&mut ManifestFile)) -> Result<Manifest, ManifestError> {
        let mut file = manifest_file(&[
            Identity::of_test("one"),
            Identity::of_test("other"),
            Identity::of_test("third"),
        ]);
        change(&mut file);
        Manifest::sign(&file, &Identity::of_test("fourth"))
    }

    #[test]
    fn a_sound_manifest_is_accepted() {
        let manifest = signed(|_| ()).unwrap();
        assert_eq!(manifest.roster().len(), 3);
        assert_eq!(manifest.elements(), 8 + manifest.parameters());
        let classes = signed(|m| m.metrics = Metrics::Classes { classes: 2 }).unwrap();
        // Training examples, clipped coordinates; 2 × 2 pairs, two sums of four digits each, two
        // histograms of 64 bins.
        assert_eq!(classes.elements(), 2 + 140 + classes.parameters());
    }

    #[test]
    fn each_fault_is_refused_by_name() {
        use ManifestError as E;
        assert!(matches!(signed(|m| m.suite = 1), Err(E::Protocol { .. })));
        assert!(matches!(signed(|m| m.suite = 3), Err(E::Protocol { .. })));
        assert!(matches!(
            signed(|m| m.min_nodes = 2),
            Err(E::MinNodes { .. })
        ));
        assert!(matches!(
            signed(|m| m.collusion = 2),
            Err(E::MinNodes { needed: 4, .. })
        ));
        assert!(matches!(signed(|m| m.min_nodes = 4), Err(E::Nodes { .. })));
        assert!(matches!(
            signed(|m| m.fixed_point.fraction_bits = 24),
            Err(E::Plan(_))
        ));
        assert!(matches!(
            signed(|m| m.nodes[0].examples_max = 0),
            Err(E::Node { .. })
        ));
        // As many examples as counters of 128 nodes can add up, and one more.
        let many = |figure| move |m: &mut ManifestFile| m.nodes[0].examples_max = figure;
        assert!(signed(many(16_777_215)).is_ok());
        assert!(matches!(signed(many(16_777_216)), Err(E::Plan(_))));
        assert!(matches!(
            signed(|m| m.metrics = Metrics::Classes { classes: 1 }),
            Err(E::Metrics(_))
        ));
        assert!(matches!(
            signed(|m| m.timeouts.keys_s = 0),
            Err(E::Timeout("keys_s"))
        ));
        assert!(matches!(
            signed(|m| m.model.layout.clear()),
            Err(E::Layout(_))
        ));
        for change in [
            |m: &mut ManifestFile| m.model.initial = "00".into(),
            |m: &mut ManifestFile| m.task = "00".into(),
        ] {
            assert!(matches!(signed(change), Err(E::Field { .. })));
        }
        assert!(matches!(
            signed(|m| m.nodes[0].name = "../x".into()),
            Err(E::Node { .. })
        ));
        assert!(matches!(
            signed(|m| m.nodes[1] = m.nodes[0].clone()),
            Err(E::Node { .. })
        ));
        let one_house = |m: &mut ManifestFile| {
            let organisation = m.nodes[0].organisation.clone();
            m.nodes[1].organisation = organisation;
        };
        assert!(matches!(
            signed(one_house),
            Err(E::Organisations {
                found: 2,
                needed: 3
            })
        ));
        // However it is spelled.
        let one_house = |m: &mut ManifestFile| {
            m.nodes[0].organisation = "St. Mary".to_owned();
            m.nodes[1].organisation = "st.  MARY ".to_owned();
        };
        assert!(matches!(
            signed(one_house),
            Err(E::Organisations {
                found: 2,
                needed: 3
            })
        ));
        assert!(matches!(
            signed(|m| m.nodes[0].organisation = "St.\u{200b}Mary".into()),
            Err(E::Node { .. })
        ));
        assert!(matches!(
            signed(|m| m.nodes[0].key = "zz".into()),
            Err(E::Field { .. })
        ));
        let overflow = vec![usize::MAX, 2];
        assert!(matches!(
            signed(|m| m.model.layout[0].shape = overflow),
            Err(E::Layout(_))
        ));
    }

    #[test]
    fn unknown_fields_and_foreign_signatures_are_refused() {
        let manifest = signed(|_| ()).unwrap();
        let authority = Identity::of_test("fifth");
        let foreign = Manifest::verify(
            manifest.bytes().to_vec(),
            *manifest.signature(),
            &authority.public_key(),
        );
        assert!(matches!(foreign, Err(ManifestError::Signature(_))));

        let mut bytes = b"surprise = 1\n".to_vec();
        bytes.extend_from_slice(manifest.bytes());
        let signature = authority.sign(Label::Manifest, &bytes);
        let unknown = Manifest::verify(bytes, signature, &authority.public_key());
        assert!(matches!(unknown, Err(ManifestError::Toml(_))));
    }

    use crate::identity::Label;
}
