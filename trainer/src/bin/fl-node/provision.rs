//! `fl-node provision`.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use fl_datasets::{Dataset, Schema};
use fl_network::client::check_dialable;
use fl_network::files::read_limited;
use fl_network::program::logging::say;
use fl_protocol::manifest::{LimitTable, TimeoutTable, min_organisations};
use fl_shaders::Ring;
use fl_trainer::Layout;
use fl_trainer::provision::{Agreement, RoundParticipation};
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::args::{HeldBackArgs, Provision};
use super::console::note;
use super::task::TaskTable;

const BYTES_A_MEGABIT: u64 = 125_000;

pub(crate) fn run(args: Provision) -> anyhow::Result<()> {
    check_dialable(&args.relay).context("--relay is where nodes reach the relay, by UDP")?;
    ensure!(
        args.participation != RoundParticipation::Any || args.accept_differences,
        "with --participation any, the difference of two rounds' sums can tell a single node's \
         update; if everyone accepts that, say --accept-differences, else take `all` or cohorts"
    );
    let seed = match args.seed {
        Some(seed) => seed,
        None => drawn_seed()?,
    };
    let (task, layout, initial) = begun(&args, seed)?;
    let least = min_organisations(args.collusion);
    let agreement = Agreement {
        name: args.name,
        relay: args.relay,
        nodes: args.nodes,
        collusion: args.collusion,
        min_nodes: args.min_nodes.unwrap_or(least),
        participation: args.participation,
        sharing: args.scheme,
        ring: Ring::U32,
        layout,
        initial,
        metrics: task.model.metrics(),
        task: task.to_table()?,
        timeouts: TimeoutTable {
            training_s: args.training_s,
            minimum_bandwidth_bytes_per_s: u64::from(args.bandwidth_mbit_s) * BYTES_A_MEGABIT,
            ..TimeoutTable::default()
        },
        limits: LimitTable {
            update_norm: args.update_norm,
            loss_rise: args.loss_rise,
        },
        valid_days: args.valid_days,
    };
    let consortium = agreement.provision()?;
    consortium.write(&args.out)?;
    let folder = |name: &str| args.out.join(name).display().to_string();
    let schema = task.model.schema();
    say(format_args!(
        "the model tells {} from {}; these names, and how columns are scaled, stand in every node's kit",
        schema.target_in_words(),
        schema.shape()
    ));
    say(format_args!(
        "the seed is {seed}; for a consortium of other members, do not give it again"
    ));
    say(consortium.plan());
    say(consortium.manifest().participation_in_words());
    say(format_args!(
        "manifest {} is signed",
        consortium.manifest().consortium_id().to_hex()
    ));
    let [ours, authority] = consortium.fingerprints();
    say(format_args!(
        "fingerprints, to be compared with what nodes show when they start:\n  consortium {ours}\n  authority  {authority}"
    ));
    say(format_args!(
        "give each party its folder, over a channel that you trust:"
    ));
    say(format_args!(
        "  {}: to whoever runs `fl-relay serve`",
        folder("relay")
    ));
    for node in &agreement.nodes {
        let (folder, organisation) = (folder(&node.name), &node.organisation);
        say(format_args!(
            "  {folder}: to {organisation}, who runs `fl-node train`"
        ));
    }
    say(format_args!(
        "no program needs {}; whoever has its key can found a consortium in your name",
        folder("authority")
    ));
    Ok(())
}

/// Draws a seed of at most 63 bits, which is as much as a manifest can hold.
fn drawn_seed() -> anyhow::Result<u64> {
    let drawn = SysRng.try_next_u64();
    Ok(drawn.context("the operating system's random generator failed")? >> 1)
}

/// Reads a schema as `inspect` writes it.
fn schema(path: &Path) -> anyhow::Result<Schema> {
    /// Room for the names of as many columns as an example can have features.
    const MOST_BYTES: usize = 256 << 20;
    let bytes = read_limited(path, MOST_BYTES)?;
    let text = str::from_utf8(&bytes).with_context(|| format!("{} is no text", path.display()))?;
    toml::from_str(text).with_context(|| format!("{} is no schema", path.display()))
}

/// The task, and the model that it begins with.
fn begun(args: &Provision, seed: u64) -> anyhow::Result<(TaskTable, Layout, Vec<f32>)> {
    let task = match (&args.data, &args.from) {
        (_, Some(path)) => {
            let (task, checkpoint) = TaskTable::from_checkpoint(path, &args.task, seed)?;
            return Ok((task, checkpoint.layout, checkpoint.parameters));
        }
        (Some(data), None) => {
            let schema = args.schema.as_deref().map(schema).transpose()?;
            let held_back = HeldBackArgs::default();
            TaskTable::of(data, &held_back, schema, &args.task, seed, note)?.0
        }
        (None, None) => bail!("--data SOURCE or --from FILE is missing"),
    };
    // A new model comes from the seed; no data is needed but for its shape.
    let none = || Dataset::unlabelled(task.model.schema().clone(), Vec::new());
    let device = fl_trainer::cpu();
    let mut trainer = task
        .model
        .trainer(none()?, none()?, task.training, device)?;
    let (layout, initial) = (trainer.layout().clone(), trainer.initial()?);
    Ok((task, layout, initial))
}
