//! Founding a consortium: the authority, the signed manifest, a kit for every node and one for the
//! relay.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use fl_network::client::{LinkError, host_of};
use fl_network::files::{FileError, write_private, write_public};
use fl_network::kit::KitFiles;
use fl_network::pki::{Authority, PkiError, Validity};
use fl_network::time::unix_s;
use fl_protocol::digest::{Digest, model_hash};
use fl_protocol::error::{IdentityError, ManifestError};
use fl_protocol::fingerprint::Fingerprint;
use fl_protocol::manifest::{
    CohortTable, CommitteeTable, LimitTable, Manifest, ManifestFile, ModelTable, NodeTable,
    ParticipationMode, Scheme, TimeoutTable, epoch_key_check, min_organisations,
};
use fl_protocol::metrics::Metrics;
use fl_shaders::Ring;
use fl_sharing::{EpochKey, Plan, PlannerError, RandomnessError};
use zeroize::Zeroizing;

use crate::Layout;

const SECONDS_A_DAY: u64 = 86_400;
const AUTHORITY: &str = "authority";
const RELAY: &str = "relay";
const RESERVED: [&str; 2] = [AUTHORITY, RELAY];

/// Why a consortium cannot be founded like this.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// Nothing is overwritten: kits hold private keys.
    #[error("{0} exists and is not empty; choose another folder, or move the old one away")]
    Exists(PathBuf),
    /// Not a way to share.
    #[error(
        "{0:?} is no way to share updates: it is `peer`, or `committee:K,t` such as committee:5,2"
    )]
    Sharing(String),
    /// Not a way to take part.
    #[error(
        "{0:?} is no way to take part in rounds: it is `all`, `cohorts:A,B,C/D,E,F` with the \
         names of the nodes that take part together, or `any`"
    )]
    Participation(String),
    /// A committee of more nodes than there are.
    #[error("a committee of {holders} cannot be chosen from {nodes} nodes")]
    Holders {
        /// K.
        holders: usize,
        /// Nodes.
        nodes: usize,
    },
    /// A node is written wrongly.
    #[error(
        "{0:?} is not a node: write NAME=EXAMPLES or NAME@ORGANISATION=EXAMPLES, with the most \
         training examples that it will have, such as charite=12000"
    )]
    Node(String),
    /// A node's kit would take the place of another party's.
    #[error("a node cannot be called {0:?}, since another party's folder is; choose another name")]
    TakenName(String),
    /// The relay's address is not `host:port`.
    #[error(transparent)]
    Relay(#[from] LinkError),
    /// No fixed-point format fits.
    #[error(transparent)]
    Plan(#[from] PlannerError),
    /// The manifest would not hold.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A key cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is agreed on a node: who runs it, and how much it may weigh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedNode {
    /// Name, unique in the consortium: letters, digits, dots, dashes and underscores.
    pub name: String,
    /// Organisation; a round has participants of three of them at least.
    pub organisation: String,
    /// The most training examples that it has, before [`rounded_up`]. The closer, the less a node
    /// that claims more than it has can do, and the finer the resolution of the average.
    pub examples_max: u32,
}

impl FromStr for AgreedNode {
    type Err = ProvisionError;

    /// `NAME=EXAMPLES`, or `NAME@ORGANISATION=EXAMPLES` if the organisation has another name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ProvisionError::Node(text.to_owned());
        let (party, examples_max) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (name, organisation) = party.split_once('@').unwrap_or((party, party));
        if name.is_empty() || organisation.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            organisation: organisation.to_owned(),
            examples_max: examples_max.parse().map_err(|_| wrong())?,
        })
    }
}

/// Returns the figure that stands in a manifest for a node of up to `examples` training examples:
/// the next number with at most two significant binary digits (…, 512, 768, 1024, 1536, …), so that
/// all see the order of magnitude, and it is at most half as large again.
pub fn rounded_up(examples: u32) -> u32 {
    let power = u64::from(examples).next_power_of_two();
    let between = power / 4 * 3;
    let figure = match u64::from(examples) <= between {
        true => between,
        false => power,
    };
    u32::try_from(figure).unwrap_or(u32::MAX)
}

/// How updates are shared, as it is written on a command line: `peer`, or `committee:K,t` for a
/// committee of the first K nodes with threshold t.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Of every two participants, one holds a share of the other's update.
    #[default]
    Peer,
    /// Some nodes hold the shares of all.
    Committee {
        /// K: the first of the nodes.
        holders: usize,
        /// t: the relay and t holders together learn nothing.
        threshold: u32,
    },
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => write!(f, "peer"),
            Self::Committee { holders, threshold } => write!(f, "committee:{holders},{threshold}"),
        }
    }
}

impl FromStr for Sharing {
    type Err = ProvisionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = match text {
            "peer" => return Ok(Self::Peer),
            _ => text.strip_prefix("committee:"),
        };
        let numbers = numbers.and_then(|numbers| numbers.split_once(','));
        let parsed = numbers.and_then(|(k, t)| Some((k.parse().ok()?, t.parse().ok()?)));
        match parsed {
            Some((holders, threshold)) => Ok(Self::Committee { holders, threshold }),
            None => Err(ProvisionError::Sharing(text.to_owned())),
        }
    }
}

/// Who takes part in a round, as it is written on a command line: `all`, `any`, or
/// `cohorts:A,B,C/D,E,F` for nodes A, B and C, or D, E and F, or all six.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoundParticipation {
    /// Every node in every round.
    #[default]
    All,
    /// Whole cohorts, by the names of their nodes.
    Cohorts(Vec<Vec<String>>),
    /// Any nodes that are enough: differences of sums then tell single nodes' updates.
    Any,
}

impl FromStr for RoundParticipation {
    type Err = ProvisionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("cohorts:")) {
            ("all", _) => Ok(Self::All),
            ("any", _) => Ok(Self::Any),
            (_, Some(cohorts)) => {
                let names = |cohort: &str| cohort.split(',').map(str::to_owned).collect();
                Ok(Self::Cohorts(cohorts.split('/').map(names).collect()))
            }
            (text, None) => Err(ProvisionError::Participation(text.to_owned())),
        }
    }
}

impl RoundParticipation {
    /// Writes the agreement into a manifest.
    fn write(&self, file: &mut ManifestFile) {
        let table = |nodes: &Vec<String>| CohortTable {
            nodes: nodes.clone(),
        };
        file.accepts_differences = *self == Self::Any;
        (file.participation, file.cohorts) = match self {
            Self::All => (ParticipationMode::All, Vec::new()),
            Self::Any => (ParticipationMode::Any, Vec::new()),
            Self::Cohorts(cohorts) => {
                let tables = cohorts.iter().map(table).collect();
                (ParticipationMode::Cohorts, tables)
            }
        };
    }
}

/// What the participants agree on.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Name of the consortium.
    pub name: String,
    /// Where nodes reach the relay, `host:port`; its certificate is for that host.
    pub relay: String,
    /// The nodes, three or more.
    pub nodes: Vec<AgreedNode>,
    /// Organisations that may all collude with the relay.
    pub collusion: u32,
    /// Least number of participants of a round, three or more, and two more than `collusion`.
    pub min_nodes: u32,
    /// Who takes part in a round.
    pub participation: RoundParticipation,
    /// How updates are shared.
    pub sharing: Sharing,
    /// Ring of the shares.
    pub ring: Ring,
    /// The model's parameters.
    pub layout: Layout,
    /// The model that the first round starts from, in the order of the layout.
    pub initial: Vec<f32>,
    /// What is counted of the model.
    pub metrics: Metrics,
    /// What is learned and how; nodes read it.
    pub task: toml::Table,
    /// How long to wait for what.
    pub timeouts: TimeoutTable,
    /// What a node holds itself and the others to.
    pub limits: LimitTable,
    /// For how many days the certificates are valid.
    pub valid_days: u32,
}

/// A consortium with all its keys, before they are handed out.
pub struct Consortium {
    authority: Authority,
    manifest: Manifest,
    plan: Plan,
    task: String,
    initial: Vec<f32>,
    epoch_key: EpochKey,
    relay: Party,
    nodes: Vec<Party>,
}

struct Party {
    name: String,
    certificate_pem: String,
    key_pem: Zeroizing<String>,
}

impl Agreement {
    /// Returns an agreement for a consortium on one machine: organisations of one node each, named
    /// `node-1`, `node-2`, …, and a local relay whose port is passed at run time. The nodes train
    /// `layout`, beginning with `initial`, each on at most as many examples as `examples_max` has
    /// for it, and count right and wrong answers.
    pub fn on_one_machine(
        examples_max: &[u32],
        sharing: Sharing,
        (layout, initial): (Layout, Vec<f32>),
    ) -> Self {
        let node = |(k, examples_max): (usize, &u32)| {
            let name = format!("node-{}", k + 1);
            AgreedNode {
                organisation: name.clone(),
                name,
                examples_max: *examples_max,
            }
        };
        let collusion = 1;
        Self {
            name: "simulation".to_owned(),
            relay: "localhost:0".to_owned(),
            nodes: examples_max.iter().enumerate().map(node).collect(),
            collusion,
            min_nodes: min_organisations(collusion),
            participation: RoundParticipation::All,
            sharing,
            ring: Ring::U32,
            layout,
            initial,
            metrics: Metrics::default(),
            task: toml::Table::new(),
            timeouts: TimeoutTable {
                training_s: 24 * 3600,
                ..TimeoutTable::default()
            },
            limits: LimitTable::default(),
            valid_days: 2,
        }
    }

    /// Makes all keys and certificates, chooses the fixed-point format, and signs the manifest.
    ///
    /// # Errors
    ///
    /// A [`ProvisionError`] that says what to change.
    pub fn provision(&self) -> Result<Consortium, ProvisionError> {
        let host = host_of(&self.relay)?.to_owned();
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let figures = self.nodes.iter().map(|node| rounded_up(node.examples_max));
        let examples_max = figures.max().unwrap_or_default();
        let plan = Plan::new(self.ring, nodes, examples_max, self.metrics.tallies())?;
        let validity = Validity::days(SystemTime::now(), self.valid_days)?;
        let expires_unix_s = unix_s() + SECONDS_A_DAY * u64::from(self.valid_days);
        let authority = Authority::create(&self.name, validity)?;
        let mut parties = Vec::with_capacity(self.nodes.len());
        let mut tables = Vec::with_capacity(self.nodes.len());
        // Every party has a folder, and some file systems tell no upper from lower case.
        let mut taken: BTreeSet<_> = RESERVED.iter().map(ToString::to_string).collect();
        for node in &self.nodes {
            if !taken.insert(node.name.to_lowercase()) {
                return Err(ProvisionError::TakenName(node.name.clone()));
            }
            let identity = fl_network::pki::generate_identity()?;
            let key = identity.public_key();
            parties.push(Party {
                name: node.name.clone(),
                certificate_pem: authority.issue_node(&node.name, &key, validity)?,
                key_pem: identity.to_pem()?,
            });
            tables.push(NodeTable {
                name: node.name.clone(),
                organisation: node.organisation.clone(),
                key: hex::encode(key.as_bytes()),
                examples_max: rounded_up(node.examples_max),
                expires_unix_s,
            });
        }
        let (certificate_pem, key_pem) = authority.issue_relay(&[host], validity)?;
        let relay = Party {
            name: RELAY.to_owned(),
            certificate_pem,
            key_pem,
        };
        let epoch_key = EpochKey::generate()?;
        let model = ModelTable {
            initial: model_hash(&self.initial).to_hex(),
            layout: self.layout.tensors().to_vec(),
        };
        let task = toml::to_string(&self.task);
        let task = task.map_err(|error| ManifestError::Write(Box::new(error)))?;
        let mut file = ManifestFile::new(
            self.name.clone(),
            self.relay.clone(),
            epoch_key_check(epoch_key.expose()),
            &plan.format,
            Digest::sha256(&[task.as_bytes()]),
            model,
            tables,
        );
        (file.collusion, file.min_nodes) = (self.collusion, self.min_nodes);
        self.participation.write(&mut file);
        if let Sharing::Committee { holders, threshold } = self.sharing {
            let nodes = self.nodes.len();
            if holders > nodes {
                return Err(ProvisionError::Holders { holders, nodes });
            }
            let names = self.nodes.iter().map(|node| node.name.clone());
            let holders: Vec<_> = names.take(holders).collect();
            file.scheme = Scheme::Committee;
            file.committee = Some(CommitteeTable { holders, threshold });
        }
        file.timeouts = self.timeouts.clone();
        file.limits = self.limits.clone();
        file.metrics = self.metrics;
        let manifest = Manifest::sign(&file, authority.identity())?;
        let initial = self.initial.clone();
        Ok(Consortium {
            authority,
            manifest,
            plan,
            initial,
            epoch_key,
            task,
            relay,
            nodes: parties,
        })
    }
}

impl Consortium {
    /// Returns the fixed-point plan; its `Display` explains it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the fingerprints of the consortium and of its authority.
    pub fn fingerprints(&self) -> [Fingerprint; 2] {
        [
            Fingerprint::of_consortium(&self.manifest),
            Fingerprint::of_authority(&self.authority.identity().public_key()),
        ]
    }

    /// Returns the signed manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the authority and all kits into `folder`, a subfolder each, named after its party.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Exists`] if the folder has anything in it, [`ProvisionError::File`]; then
    /// there is nothing of this consortium in it.
    pub fn write(&self, folder: &Path) -> Result<(), ProvisionError> {
        let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            return Err(ProvisionError::Exists(folder.to_owned()));
        }
        self.write_all(folder).inspect_err(|_| {
            let parties = self.nodes.iter().chain([&self.relay]);
            let names = parties.map(|party| party.name.as_str());
            for name in names.chain([AUTHORITY]) {
                // What fails here is there still to be seen.
                let _ = fs::remove_dir_all(folder.join(name));
            }
        })
    }

    fn write_all(&self, folder: &Path) -> Result<(), ProvisionError> {
        let authority = folder.join(AUTHORITY);
        fs::create_dir_all(&authority).map_err(|source| FileError::write(&authority, source))?;
        let certificate = self.authority.certificate_pem();
        write_public(&authority.join("authority.pem"), certificate.as_bytes())?;
        let key = self.authority.identity().to_pem()?;
        write_private(&authority.join("authority-key.pem"), key.as_bytes())?;
        for node in &self.nodes {
            let kit = KitFiles {
                epoch_key: Some(self.epoch_key.expose()),
                task: Some(&self.task),
                ..self.kit(node)
            };
            kit.write(&folder.join(&node.name))?;
        }
        self.kit(&self.relay)
            .write(&folder.join(&self.relay.name))?;
        Ok(())
    }

    /// A kit with all but what only nodes have.
    fn kit<'a>(&'a self, party: &'a Party) -> KitFiles<'a> {
        KitFiles {
            manifest: &self.manifest,
            authority_pem: self.authority.certificate_pem(),
            certificate_pem: &party.certificate_pem,
            key_pem: &party.key_pem,
            epoch_key: None,
            task: None,
            initial: &self.initial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_two_binary_digits_and_the_least_that_will_do() {
        for (examples, figure) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 4),
            (5, 6),
            (7, 8),
            (9, 12),
            (13, 16),
            (1_000, 1_024),
            (1_025, 1_536),
            (1_537, 2_048),
            (3 << 30, 3 << 30),
            ((3 << 30) + 1, u32::MAX),
        ] {
            assert_eq!(rounded_up(examples), figure, "{examples}");
        }
    }

    #[test]
    fn figures_cost_at_most_half_as_much_again() {
        for examples in (1..10_000).chain((1 << 24..1 << 27).step_by(9_973)) {
            let figure = rounded_up(examples);
            assert!(figure >= examples, "{examples}: {figure}");
            assert!(2 * figure <= 3 * examples + 1, "{examples}: {figure}");
            assert_eq!(rounded_up(figure), figure);
            let significant = 32 - figure.leading_zeros() - figure.trailing_zeros();
            assert!(significant <= 2, "{examples}: {figure:b}");
        }
    }

    #[test]
    fn a_node_is_written_with_its_name_its_organisation_and_its_figure() {
        let node = |text: &str| text.parse::<AgreedNode>().ok();
        let agreed = |name: &str, organisation: &str, examples_max| {
            Some(AgreedNode {
                name: name.to_owned(),
                organisation: organisation.to_owned(),
                examples_max,
            })
        };
        assert_eq!(node("a=12"), agreed("a", "a", 12));
        assert_eq!(node("a@St. Mary=12"), agreed("a", "St. Mary", 12));
        assert_eq!(node("a@b=c=12"), agreed("a", "b=c", 12));
        for wrong in [
            "",
            "a",
            "a@b",
            "a=",
            "=3",
            "a@=3",
            "a=many",
            "a=-1",
            "a=4294967296",
        ] {
            assert_eq!(node(wrong), None, "{wrong:?}");
        }
    }
}
