//! The manifest: everything that a consortium agreed on, signed by its authority.
//!
//! A manifest is TOML plus a detached signature. Every node and the relay hold the same bytes;
//! their SHA-256, `consortium_id`, names the consortium and enters every transcript, so the relay
//! can override nothing in it. A new site or a revoked one is a new epoch, that is a new
//! manifest.

mod file;
mod organisation;
mod pace;
mod participation;
mod scheme;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fl_shaders::{Addends, FixedPoint};

use crate::digest::Digest;
use crate::error::ManifestError;
use crate::identity::{Identity, Label, NodeId, PublicKey};
use crate::metrics::Metrics;
use crate::round::committee::Committee;

pub(crate) use file::is_name;
pub use file::{
    LimitTable, ManifestFile, ModelTable, NodeTable, PlanTable, RelayTable, TensorLayout,
    TimeoutTable, epoch_key_check, min_organisations,
};
pub use organisation::Organisation;
pub use pace::Pace;
pub use participation::{CohortTable, Participation, ParticipationMode};
pub use scheme::{CommitteeTable, Scheme};

/// Longest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// A manifest whose signature and contents were checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    consortium_id: Digest,
    bytes: Vec<u8>,
    signature: [u8; 64],
    file: ManifestFile,
    fixed_point: FixedPoint,
    roster: BTreeMap<NodeId, Member>,
    committee: Option<Committee>,
    participation: Participation,
    epoch_key: Digest,
    task: Digest,
    initial_model: Digest,
}

/// A node as the manifest lists it.
#[derive(Clone, Debug)]
pub struct Member {
    /// SHA-256 of `key`.
    pub id: NodeId,
    /// Name, unique in the manifest.
    pub name: String,
    /// Organisation that runs the node; a round has participants of [`Manifest::min_organisations`]
    /// at least.
    pub organisation: Organisation,
    /// Identity key.
    pub key: PublicKey,
    /// The most training examples that it has.
    pub examples_max: u32,
    /// Until when it may take part, in seconds of Unix time.
    pub expires_unix_s: u64,
}

impl Manifest {
    /// Writes `file` as TOML and signs it with the authority's identity.
    ///
    /// # Errors
    ///
    /// Whatever [`Manifest::verify`] would find wrong with the contents.
    pub fn sign(file: &ManifestFile, authority: &Identity) -> Result<Self, ManifestError> {
        let text = toml::to_string(file).map_err(|error| ManifestError::Write(Box::new(error)))?;
        let signature = authority.sign(Label::Manifest, text.as_bytes());
        Self::verify(text.into_bytes(), signature, &authority.public_key())
    }

    /// Checks the authority's signature over `bytes`, then every number in them.
    ///
    /// # Errors
    ///
    /// A [`ManifestError`] that says what is wrong and, where there is a choice, what to change.
    pub fn verify(
        bytes: Vec<u8>,
        signature: [u8; 64],
        authority: &PublicKey,
    ) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            let limit = MAX_MANIFEST_BYTES;
            return Err(ManifestError::TooLarge {
                bytes: bytes.len(),
                limit,
            });
        }
        authority
            .verify(Label::Manifest, &bytes, &signature)
            .map_err(ManifestError::Signature)?;
        Self::parse(bytes, signature)
    }

    /// Reads a manifest without the authority's signature, for whoever knows from elsewhere that it
    /// is the consortium's. [`Manifest::signature`] is then none.
    ///
    /// # Errors
    ///
    /// As [`Manifest::verify`], but for the signature.
    pub fn unsigned(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        Self::parse(bytes, [0; 64])
    }

    fn parse(bytes: Vec<u8>, signature: [u8; 64]) -> Result<Self, ManifestError> {
        let file: ManifestFile =
            toml::from_slice(&bytes).map_err(|error| ManifestError::Toml(Box::new(error)))?;
        file.check()?;
        let roster = file.roster()?;
        let fixed_point = file.plan()?;
        let committee = scheme::committee(
            file.scheme,
            file.committee.as_ref(),
            file.collusion,
            &roster,
        )?;
        let participation = Participation::new(
            file.participation,
            &file.cohorts,
            file.accepts_differences,
            min_organisations(file.collusion),
            &roster,
        )?;
        let epoch_key = file::digest("epoch_key", &file.epoch_key)?;
        let task = file::digest("task", &file.task)?;
        let initial_model = file::digest("model.initial", &file.model.initial)?;
        let consortium_id = Digest::sha256(&[&bytes]);
        Ok(Self {
            consortium_id,
            bytes,
            signature,
            file,
            fixed_point,
            roster,
            committee,
            participation,
            epoch_key,
            task,
            initial_model,
        })
    }

    /// SHA-256 of the manifest's bytes: the name of the consortium.
    pub fn consortium_id(&self) -> Digest {
        self.consortium_id
    }

    /// Returns the bytes that were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the authority's signature over [`Manifest::bytes`].
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Check value of the nodes' epoch key: see [`epoch_key_check`].
    pub fn epoch_key(&self) -> Digest {
        self.epoch_key
    }

    /// Returns the name of the consortium.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Returns where nodes find the relay, as `host:port`.
    pub fn relay_address(&self) -> &str {
        &self.file.relay.address
    }

    /// Returns how many colluding participants the relay may have without learning more than the
    /// sum.
    pub fn collusion(&self) -> usize {
        self.file.collusion as usize
    }

    /// Least number of participants in a round.
    pub fn min_nodes(&self) -> usize {
        self.file.min_nodes as usize
    }

    /// Least number of organisations behind the participants of a round: with fewer, those that
    /// collude could be all the others.
    pub fn min_organisations(&self) -> usize {
        min_organisations(self.file.collusion) as usize
    }

    /// Returns the fixed-point plan.
    pub fn fixed_point(&self) -> &FixedPoint {
        &self.fixed_point
    }

    /// Names and shapes of the model's parameters, in the order of the flat vector.
    pub fn layout(&self) -> &[TensorLayout] {
        &self.file.model.layout
    }

    /// Returns the number of parameters M of the model.
    pub fn parameters(&self) -> usize {
        self.file
            .model
            .layout
            .iter()
            .map(TensorLayout::parameters)
            .sum()
    }

    /// Returns what is counted of the model.
    pub fn metrics(&self) -> Metrics {
        self.file.metrics
    }

    /// Returns the number of ring elements of an input vector: the header, then one for each
    /// parameter.
    pub fn elements(&self) -> usize {
        self.fixed_point.header_words() + self.parameters()
    }

    /// Returns the length of an input vector, a masked sum or a result in bytes.
    pub fn body_bytes(&self) -> usize {
        self.elements() * self.fixed_point.ring().word_bytes()
    }

    /// Hash of the model that the first round starts from.
    pub fn initial_model(&self) -> Digest {
        self.initial_model
    }

    /// SHA-256 of the task: what is learned and how, which only nodes have.
    pub fn task(&self) -> Digest {
        self.task
    }

    /// Returns who holds the seeds; nobody in particular in the peer scheme.
    pub fn committee(&self) -> Option<&Committee> {
        self.committee.as_ref()
    }

    /// Returns who takes part in a round.
    pub fn participation(&self) -> &Participation {
        &self.participation
    }

    /// Returns what a node's operator should know of who takes part.
    pub fn participation_in_words(&self) -> String {
        match self.participation.cohorts() {
            [] => "a round may have any of the nodes: the difference of two sums can then tell a \
                   single node's update, which this consortium accepts"
                .to_owned(),
            [_] => "every round has every node".to_owned(),
            cohorts => {
                let names: Vec<_> = cohorts.iter().map(|cohort| self.names_of(cohort)).collect();
                format!("rounds have whole cohorts: {}", names.join("; "))
            }
        }
    }

    /// Returns the nodes' names in alphabetical order, each with its organisation if that has
    /// another name, and with the most examples that it may claim.
    pub fn roster_in_words(&self) -> String {
        let mut nodes: Vec<_> = self.roster.values().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let words = nodes.into_iter().map(
            |Member {
                 name,
                 organisation,
                 examples_max,
                 ..
             }| {
                let party = match organisation.to_string() {
                    same if same == *name => same,
                    other => format!("{name} of {other}"),
                };
                format!("{party} (up to {examples_max} examples)")
            },
        );
        words.collect::<Vec<_>>().join(", ")
    }

    /// Returns the nodes, by id.
    pub fn roster(&self) -> &BTreeMap<NodeId, Member> {
        &self.roster
    }

    /// The node called `id`.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Stranger`] if it is not in the roster.
    pub fn member(&self, id: NodeId) -> Result<&Member, ManifestError> {
        self.roster.get(&id).ok_or(ManifestError::Stranger(id))
    }

    /// Returns what the inputs of these nodes add up to at most. Who is not in the roster has no
    /// examples.
    pub fn addends<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Addends {
        let figure = |node| self.roster.get(node).map_or(0, |node| node.examples_max);
        let none = Addends {
            nodes: 0,
            examples_max: 0,
        };
        nodes.into_iter().fold(none, |all, node| Addends {
            nodes: all.nodes.saturating_add(1),
            examples_max: all.examples_max.saturating_add(figure(node).into()),
        })
    }

    /// The node's name, or its id if it has none here.
    pub fn name_of(&self, id: NodeId) -> String {
        self.roster
            .get(&id)
            .map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    /// The nodes' names in alphabetical order, joined by commas.
    pub fn names_of<'a>(&self, ids: impl IntoIterator<Item = &'a NodeId>) -> String {
        let mut names: Vec<_> = ids.into_iter().map(|id| self.name_of(*id)).collect();
        names.sort();
        names.join(", ")
    }

    /// A text, such as a refusal's, with the nodes' names where it has their ids as they print.
    pub fn with_names(&self, text: impl fmt::Display) -> String {
        let separates = |c: char| !c.is_ascii_alphanumeric();
        let text = text.to_string();
        let words = text.split_inclusive(separates).map(|word| {
            let id = word.trim_end_matches(separates);
            let name = self.printed_as(id).map(|member| member.name.as_str());
            [name.unwrap_or(id), &word[id.len()..]]
        });
        words.flatten().collect()
    }

    /// The node whose id prints so.
    fn printed_as(&self, text: &str) -> Option<&Member> {
        let mut least = [0; 32];
        let first = least.get_mut(..text.len() / 2)?;
        hex::decode_to_slice(text, first).ok()?;
        let (id, member) = self.roster.range(NodeId(Digest(least))..).next()?;
        (id.to_string() == text).then_some(member)
    }

    /// How long to wait for what.
    pub fn timeouts(&self) -> &TimeoutTable {
        &self.file.timeouts
    }

    /// Returns what a node holds itself and the others to.
    pub fn limits(&self) -> &LimitTable {
        &self.file.limits
    }

    /// How long an upload or a download of one body may take.
    pub fn transfer_timeout(&self) -> Duration {
        let bytes = self.body_bytes() as u64;
        let seconds = bytes / self.file.timeouts.minimum_bandwidth_bytes_per_s;
        Duration::from_secs(self.file.timeouts.sums_s.saturating_add(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Refusal;
    use crate::sim::Consortium;

    #[test]
    fn a_roster_names_nodes_and_their_organisations() {
        let mut file = Consortium::new(3).manifest.file.clone();
        let names = [("b", "b"), ("c", "St. Mary"), ("a", "A")];
        for (node, (name, organisation)) in file.nodes.iter_mut().zip(names) {
            (node.name, node.organisation) = (name.to_owned(), organisation.to_owned());
        }
        (file.nodes[1].examples_max, file.nodes[2].examples_max) = (20, 30);
        let manifest = Manifest::sign(&file, &Identity::of_test("authority")).unwrap();
        assert_eq!(
            manifest.roster_in_words(),
            "a of A (up to 30 examples), b (up to 1000 examples), c of St. Mary (up to 20 examples)"
        );
    }

    #[test]
    fn each_node_has_a_figure_of_its_own_and_the_largest_is_the_scale() {
        let consortium = Consortium::with(4, |file| {
            for (node, figure) in file.nodes.iter_mut().zip([300, 20, 1, 700]) {
                node.examples_max = figure;
            }
        });
        let manifest = &consortium.manifest;
        assert_eq!(manifest.fixed_point().examples_max(), 700);
        let addends = |nodes: &[usize]| {
            let ids: Vec<_> = nodes.iter().map(|k| consortium.id(*k)).collect();
            let Addends {
                nodes,
                examples_max,
            } = manifest.addends(&ids);
            (nodes, examples_max)
        };
        assert_eq!(addends(&[0, 1, 2, 3]), (4, 1021));
        assert_eq!(addends(&[1, 2]), (2, 21));
        let stranger = NodeId(Digest([0xab; 32]));
        assert_eq!(manifest.addends(&[stranger]).examples_max, 0);
    }

    #[test]
    fn refusals_are_told_with_names() {
        let Consortium {
            manifest,
            identities,
        } = Consortium::new(3);
        let node = |k: usize| identities[k].node_id();
        let told = |refusal| manifest.with_names(&refusal);
        let from = node(1);
        assert!(told(Refusal::Share { from }).contains("node-1"));
        assert!(!told(Refusal::Share { from }).contains(&from.to_string()));
        let sent_with = vec![node(0), node(2)];
        let difference = told(Refusal::Difference { sent_with });
        assert!(difference.contains("node-0") && difference.contains("node-2"));
        // What is no member's id stays.
        let stranger = NodeId(Digest([0xab; 32]));
        assert!(told(Refusal::Stranger(stranger)).starts_with("abababab does"));
        for text in [
            "",
            " ",
            "a",
            "abc",
            "é: ü",
            &"0".repeat(100),
            "0123456789abcdef.",
        ] {
            assert_eq!(manifest.with_names(text), text);
        }
        let id = node(0);
        assert_eq!(
            manifest.with_names(format!("{id}{id}, ({id})")),
            format!("{id}{id}, (node-0)")
        );
    }
}
