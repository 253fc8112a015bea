//! The command line as typed.
//!
//! Flags that may also stand in a TOML file are optional here; a flag wins over the file, the file
//! over the default.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use fl_datasets::{ImageSize, LoadOptions, Partition, Schema, Source};
use fl_protocol::manifest::LimitTable;
use fl_trainer::{AgreedNode, ModelKind, RoundParticipation, Sharing};
use serde::Deserialize;

/// A participant of secure federated learning.
///
/// Trains on its own data, splits the update into shares that no single party can read, and takes
/// over the average of all participants. Nobody else sees its data or its update.
#[derive(Debug, Parser)]
#[command(name = "fl-node", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a relay and several nodes in this process, over real QUIC on loopback
    Simulate(Simulate),
    /// Say what is in a data file, and write a schema for `provision`
    Inspect(Inspect),
    /// Found a consortium: authority, signed manifest, a kit for each node and one for the relay
    Provision(Provision),
    /// Take part in a consortium's rounds with this machine's data
    Train(Train),
    /// Say how well a model tells classes apart on data of which they are known
    Evaluate(Evaluate),
    /// Say of each example what a model takes it for, and how sure it is
    Predict(Predict),
    /// List the GPUs of this machine, and say which of them `--gpu` takes
    Devices,
    /// Check a log of the relay or of a node: that nothing in it was altered, and that its rounds
    /// followed the protocol
    VerifyLog(VerifyLog),
}

/// Flags of `simulate`.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Simulate {
    /// Number of nodes, at least 3 [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<usize>,
    /// Number of rounds [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u64>,
    /// Fraction of the nodes that take part in a round, above 0 and up to 1 [default: 1.0]
    #[arg(long, value_name = "FRACTION")]
    pub(crate) fraction_fit: Option<f64>,
    /// Least number of participants of a round [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) min_nodes: Option<usize>,
    /// End before --rounds once the model's mean loss on what all nodes hold back has not been
    /// lower for so many rounds
    #[arg(long, value_name = "ROUNDS")]
    pub(crate) patience: Option<u64>,
    /// How updates are shared: peer, or committee:K,t for a committee of the first K nodes with
    /// threshold t [default: peer]
    #[arg(long, value_name = "SCHEME")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) scheme: Option<Sharing>,
    /// How the training data is spread: iid, dirichlet:ALPHA or by-label [default: iid]
    #[arg(long, value_name = "HOW")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) partition: Option<Partition>,
    /// digits, breast-cancer, a CSV or Parquet file, a folder of pictures in folders named for
    /// their classes, of Parquet files, or of IDX files as MNIST's, or arrays as safetensors
    /// [default: digits]
    #[arg(long, value_name = "SOURCE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) data: Option<Source>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) held_back: HeldBackArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) task: TaskArgs,
    /// Seed of the initial model, of the split into training and test data, and of the order of
    /// examples [default: 42]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Train and mask on a GPU: the fastest, or the one whose name contains NAME [default: the CPU]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    #[serde(deserialize_with = "gpu_choice")]
    pub(crate) gpu: Option<GpuChoice>,
    /// Folder for global.safetensors and run.json [default: smpcfl-out]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object for each round on standard output, and no progress bars
    #[arg(long)]
    pub(crate) json: bool,
    /// TOML file with the same settings, named with underscores (`fraction_fit = 0.5`)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
}

/// How data is read that nobody has agreed on yet.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default)]
pub(crate) struct TableArgs {
    /// Column of a table that holds the label [default: the last]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// The label is a quantity, to be predicted as a number [default: if its numbers differ too
    /// much to be classes]
    #[arg(long)]
    pub(crate) quantity: bool,
    /// Column that says which rows belong together, such as those of one patient: they are held
    /// back together or not at all
    #[arg(long, value_name = "COLUMN")]
    pub(crate) group: Option<String>,
    /// Columns of a table that are not used, by name or by place from 1 on, joined by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) leave_out: Vec<String>,
    /// Whether the first row of a CSV file holds the columns' names [default: by what is in it]
    #[arg(long, value_name = "true|false")]
    pub(crate) header: Option<bool>,
    /// Size of the images that the rows of a table are, a column a pixel, or to which pictures are
    /// brought: HEIGHTxWIDTH such as 28x28 [default: a table has no images; pictures must be alike]
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) image: Option<ImageSize>,
}

impl TableArgs {
    fn or(self, file: Self) -> Self {
        Self {
            label: self.label.or(file.label),
            quantity: self.quantity || file.quantity,
            group: self.group.or(file.group),
            image: self.image.or(file.image),
            leave_out: match self.leave_out.is_empty() {
                true => file.leave_out,
                false => self.leave_out,
            },
            header: self.header.or(file.header),
        }
    }

    /// Returns how to read such a file, against a schema if there is one.
    pub(crate) fn options(&self, schema: Option<Schema>) -> LoadOptions {
        LoadOptions {
            label: self.label.clone(),
            schema,
            quantity: self.quantity,
            group: self.group.clone(),
            image: self.image,
            leave_out: self.leave_out.clone(),
            header: self.header,
        }
    }
}

/// What the model is judged by.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default)]
pub(crate) struct HeldBackArgs {
    /// Examples to judge the model by, of which it learns nothing: any source that --data takes
    /// [default: the test part of --data, or some of its examples]
    #[arg(long, value_name = "SOURCE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) test: Option<Source>,
    /// Part of the examples that judge the model, where there is no test part, above 0 and below 1
    /// [default: 0.2]
    #[arg(long, value_name = "FRACTION", conflicts_with = "test")]
    pub(crate) test_fraction: Option<f64>,
}

impl HeldBackArgs {
    fn or(self, file: Self) -> Self {
        // Either of them on the command line is in place of both in the file.
        match self.test.is_some() || self.test_fraction.is_some() {
            true => self,
            false => file,
        }
    }
}

/// What is learned, and how.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(default)]
pub(crate) struct TaskArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) table: TableArgs,
    /// Built-in model: cnn for images, mlp for tables [default: by the data]
    #[arg(long, value_name = "MODEL")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) model: Option<ModelKind>,
    /// sgd (with momentum 0.9, gradients shortened to norm 1) or adam [default: sgd]
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub(crate) optimizer: Option<OptimizerName>,
    /// Step size of the optimizer [default: 0.03 for sgd, 0.001 for adam]
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// Examples a step [default: 16]
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Passes over the local data a round [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) local_epochs: Option<usize>,
}

/// Which GPU: `--gpu` or `--gpu NAME`, in a file `gpu = true` or `gpu = "NAME"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GpuChoice {
    /// The fastest kind that there is.
    Fastest,
    /// One whose name contains this, in any case.
    Named(String),
}

impl From<&str> for GpuChoice {
    fn from(name: &str) -> Self {
        match name {
            "" => Self::Fastest,
            _ => Self::Named(name.to_owned()),
        }
    }
}

/// Name of an optimizer.
#[derive(Clone, Copy, Debug, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerName {
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
    /// Adam.
    Adam,
}

/// Flags of `provision`.
#[derive(Debug, clap::Args)]
pub(crate) struct Provision {
    /// The nodes, at least 3, each with the most training examples that it will have, such as
    /// charite=12000,ukb=9000,lmu=5000; NAME@ORGANISATION=EXAMPLES where an organisation runs
    /// several. The figure is rounded up by up to a half (to 1, 2, 3, 4, 6, 8, 12, …), and all
    /// participants see it; a node works as long as on that many, so that its time does not tell
    /// how many it has. Rows that are kept for testing do not count
    #[arg(
        long,
        value_name = "NAME=EXAMPLES,…",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) nodes: Vec<AgreedNode>,
    /// Where nodes reach the relay: host name or address, and UDP port
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) relay: String,
    /// Folder for the kits; must be empty or new
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Name of the consortium
    #[arg(long, value_name = "NAME", default_value = "consortium")]
    pub(crate) name: String,
    /// Organisations that may all be on the relay's side: a round has participants of two more, and
    /// of three at least
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) collusion: u32,
    /// Least number of participants of a round, at least 3 and two more than --collusion [default:
    /// just that]
    #[arg(long, value_name = "N")]
    pub(crate) min_nodes: Option<u32>,
    /// Who takes part in a round: all, cohorts:A,B,C/D,E,F for whole cohorts of these nodes, or any
    /// nodes that are enough
    #[arg(long, value_name = "WHO", default_value = "all")]
    pub(crate) participation: RoundParticipation,
    /// Accept that differences of sums can tell a single node's update, as with --participation any
    #[arg(long)]
    pub(crate) accept_differences: bool,
    /// How updates are shared: peer, or committee:K,t for a committee of the first K nodes with
    /// threshold t
    #[arg(long, value_name = "SCHEME", default_value = "peer")]
    pub(crate) scheme: Sharing,
    /// Longest time that local training takes, in seconds; rounds then go on with those who are
    /// ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) training_s: u64,
    /// Length (L2 norm) to which a node shortens its update if it is longer; nodes end when a round
    /// moves the model further
    #[arg(long, value_name = "NORM", default_value_t = LimitTable::default().update_norm)]
    pub(crate) update_norm: f64,
    /// Nodes end when the model's loss on their own held-back rows is this much above the lowest so
    /// far, in nats
    #[arg(long, value_name = "NATS", default_value_t = LimitTable::default().loss_rise)]
    pub(crate) loss_rise: f64,
    /// Least bandwidth of a node in each direction, in Mbit/s: whoever is slower is not waited for
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) bandwidth_mbit_s: u32,
    /// For how many days the certificates are valid, and so the consortium
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) valid_days: u32,
    /// A sample that shows what the nodes' data looks like: as for `train`; only names, categories,
    /// classes, means and deviations of its columns go into the kits
    #[arg(long, value_name = "SOURCE", required_unless_present = "from")]
    pub(crate) data: Option<Source>,
    /// What is agreed on the columns of tables, made by `inspect` and changed where need be
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "label", "quantity", "group", "leave_out", "header", "image"])]
    pub(crate) schema: Option<PathBuf>,
    /// A model to go on from, made by `simulate` or `train`, in place of a new one: it knows what
    /// the nodes' data looks like
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "label", "quantity", "group", "leave_out", "header", "image", "model"])]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// Seed of the initial model and of the split into training and test data, for experiments that
    /// must be repeatable: a second consortium with the same seed and all members but one tells
    /// much of the missing one's update [default: a new one, drawn by the system]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
}

/// Flags of `train`.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Train {
    /// This node's folder, made by `fl-node provision`
    #[arg(long, value_name = "DIR")]
    pub(crate) kit: Option<PathBuf>,
    /// This node's data: a CSV or Parquet file, a folder of pictures in folders named for their
    /// classes, of Parquet or of IDX files, arrays as safetensors, digits or breast-cancer
    #[arg(long, value_name = "SOURCE")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) data: Option<Source>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) held_back: HeldBackArgs,
    /// Column of a table that holds the label [default: the agreed one, or the last]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// Where the relay is, if not where the manifest says; its certificate is still the manifest's
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) relay: Option<String>,
    /// Folder for what the node remembers between restarts, outside the kit [default: NAME-ID in
    /// ~/.local/state/smpc-fl, where ID is the beginning of the consortium's id]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Folder for the record of what this organisation has given sums of, in all its consortia:
    /// keep it as long as the data [default: record in ~/.local/state/smpc-fl]
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
    /// Take part although what is summed now, beside former sums, gives away what has changed: this
    /// node's data, or who takes part
    #[arg(long)]
    pub(crate) accept_differences: bool,
    /// Train and mask on a GPU: the fastest, or the one whose name contains NAME [default: the CPU]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    #[serde(deserialize_with = "gpu_choice")]
    pub(crate) gpu: Option<GpuChoice>,
    /// Folder for global.safetensors and run.json [default: smpcfl-out]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object for each round on standard output, and no progress bars
    #[arg(long)]
    pub(crate) json: bool,
    /// TOML file with the same settings, named with underscores
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
}

/// Flags of `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// A CSV or Parquet file, a folder of pictures, Parquet or IDX files, arrays as safetensors,
    /// digits or breast-cancer
    #[arg(value_name = "SOURCE")]
    pub(crate) data: Source,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// File for the schema, which must not exist
    #[arg(long, value_name = "FILE", default_value = "schema.toml")]
    pub(crate) out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Evaluate {
    /// Model file, such as global.safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Data to evaluate it on: the test part of a source that comes with one, all of any other
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Source,
    /// Column of a table that holds the label [default: the agreed one, or the last]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// Evaluate on a GPU: the fastest, or the one whose name contains NAME [default: the CPU]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub(crate) gpu: Option<GpuChoice>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct Predict {
    /// Model file, such as global.safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Examples, with or without a label: the test part of a source that comes with one, all of any
    /// other
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Source,
    /// Predict on a GPU: the fastest, or the one whose name contains NAME [default: the CPU]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub(crate) gpu: Option<GpuChoice>,
    /// Print a JSON object for each example, in place of CSV
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `verify-log`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyLog {
    /// The log: audit.log in the state folder of a node or of the relay [default: that of the party
    /// whose kit it is, where `train` and `serve` put it]
    #[arg(value_name = "FILE", required_unless_present = "kit")]
    pub(crate) log: Option<PathBuf>,
    /// Folder of any party's kit, whose signed manifest the log is checked against
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "manifest",
        conflicts_with = "manifest"
    )]
    pub(crate) kit: Option<PathBuf>,
    /// The manifest alone, without its signature: make sure yourself that it is the
    /// consortium's
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A value that is written as on the command line.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// `true`, `false` or a name.
fn gpu_choice<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<GpuChoice>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "gpu must be true, false or a name")]
    enum Written {
        Switch(bool),
        Name(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Switch(on) => on.then_some(GpuChoice::Fastest),
        Written::Name(name) => Some(GpuChoice::from(&*name)),
    })
}

impl Simulate {
    /// Fills in from the configuration file what was not typed.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            nodes: self.nodes.or(file.nodes),
            rounds: self.rounds.or(file.rounds),
            fraction_fit: self.fraction_fit.or(file.fraction_fit),
            scheme: self.scheme.or(file.scheme),
            min_nodes: self.min_nodes.or(file.min_nodes),
            patience: self.patience.or(file.patience),
            partition: self.partition.or(file.partition),
            data: self.data.or(file.data),
            held_back: self.held_back.or(file.held_back),
            task: self.task.or(file.task),
            seed: self.seed.or(file.seed),
            gpu: self.gpu.or(file.gpu),
            out: self.out.or(file.out),
            json: self.json || file.json,
            config: self.config,
        }
    }
}

impl TaskArgs {
    fn or(self, file: Self) -> Self {
        Self {
            table: self.table.or(file.table),
            model: self.model.or(file.model),
            optimizer: self.optimizer.or(file.optimizer),
            learning_rate: self.learning_rate.or(file.learning_rate),
            batch_size: self.batch_size.or(file.batch_size),
            local_epochs: self.local_epochs.or(file.local_epochs),
        }
    }
}

impl Train {
    /// Fills in from the configuration file what was not typed.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            kit: self.kit.or(file.kit),
            data: self.data.or(file.data),
            held_back: self.held_back.or(file.held_back),
            label: self.label.or(file.label),
            relay: self.relay.or(file.relay),
            state: self.state.or(file.state),
            record: self.record.or(file.record),
            accept_differences: self.accept_differences || file.accept_differences,
            gpu: self.gpu.or(file.gpu),
            out: self.out.or(file.out),
            json: self.json || file.json,
            config: self.config,
        }
    }
}
