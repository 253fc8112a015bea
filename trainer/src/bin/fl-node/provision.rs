//! `fl-node provision`.

use anyhow::ensure;
use fl_network::logging::say;
use fl_network::manifest::TimeoutTable;
use fl_shaders::Ring;
use fl_trainer::provision::Agreement;

use super::args::Provision;
use super::task::Task;

pub(crate) fn run(args: Provision) -> anyhow::Result<()> {
    ensure!(
        !args.relay.ends_with(":0"),
        "--relay needs the UDP port at which nodes reach the relay, such as 4433, not 0"
    );
    let (task, split) = Task::of(&args.data, &args.task)?;
    // The initial model comes from the seed; the data is only needed for its shape.
    let none = || split.train.select(&[]);
    let device = fl_trainer::cpu();
    let mut trainer = task.model.trainer(none(), none(), task.training, device)?;
    let agreement = Agreement {
        name: args.name,
        relay: args.relay,
        nodes: args.nodes,
        min_nodes: args.min_nodes,
        sharing: args.scheme,
        ring: Ring::U32,
        examples_max: args.examples_max,
        layout: trainer.layout().clone(),
        initial: trainer.initial()?,
        task: task.to_table()?,
        timeouts: TimeoutTable {
            training_s: args.training_s,
            ..TimeoutTable::default()
        },
        valid_days: args.valid_days,
    };
    let consortium = agreement.found()?;
    consortium.write(&args.out)?;
    let folder = |name: &str| args.out.join(name).display().to_string();
    say(consortium.plan());
    say(format_args!(
        "manifest {} is signed",
        consortium.manifest().sid().to_hex()
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
