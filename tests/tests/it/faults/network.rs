//! A federation completes over a network that loses, delays and reorders, and over one that is gone
//! for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use fl_network::quic::IDLE_TIMEOUT;
use fl_protocol::round::relay::Report;
use fl_tests::federation::{Disturbed, Federation, Log, Member, Switch, Weather, plain_mean};
use fl_trainer::node::{NodeEvent, NodeOutcome};
use fl_trainer::simulation::SimulationEvent;
use tokio::time::{Instant, timeout};

use crate::support::federation::{
    PATIENCE, assert_one_model, farthest, federation, member, steps_of, synthetic,
};

const EXAMPLES: [u32; 3] = [700, 200, 1_000];

/// Three nodes with `parameters` parameters, each in a weather of its own.
fn in_weather(
    parameters: usize,
    rounds: u64,
    loss: f64,
    delay: std::ops::Range<Duration>,
) -> Result<(Federation, Vec<Log>, Vec<Switch>)> {
    let (mut members, mut logs, mut switches) = (Vec::new(), Vec::new(), Vec::new());
    for (seed, examples) in (1..).zip(EXAMPLES) {
        let (trainer, log) = synthetic(parameters, examples, seed)?;
        let switch = Switch::default();
        members.push(Member {
            weather: Some(Weather {
                loss,
                delay: delay.clone(),
                seed,
                switch: switch.clone(),
            }),
            ..member(Box::new(trainer))
        });
        logs.push(log);
        switches.push(switch);
    }
    Ok((federation(members, rounds), logs, switches))
}

/// Has `disturb` happen when a node has trained in round 2, before it has sent anything.
fn in_round_2(federation: &mut Federation, node: usize, disturb: impl Fn() + Send + 'static) {
    let member = federation.members.remove(node);
    let after = move |round| {
        if round == 2 {
            disturb();
        }
    };
    let trainer = Box::new(Disturbed::new(member.trainer, |_| (), after));
    federation
        .members
        .insert(node, Member { trainer, ..member });
}

/// All nodes have completed `rounds` rounds and hold the same model, which is that of plain
/// averaging.
fn assert_complete(ended: &[NodeOutcome], logs: &[Log], rounds: u64) {
    assert_eq!(ended.len(), EXAMPLES.len());
    assert_one_model(ended, rounds);
    let mut model = vec![0.0; ended[0].model.len()];
    for round in 1..=rounds {
        let steps = steps_of(logs, round);
        assert_eq!(steps.len(), EXAMPLES.len());
        let mean = plain_mean(&steps);
        model.iter_mut().zip(mean).for_each(|(m, mean)| *m += mean);
    }
    let bound = rounds as f64 * 1e-6;
    assert!(farthest(&ended[0].model, &model) < bound);
    model[1] += 2.0 * bound;
    assert!(farthest(&ended[0].model, &model) > bound, "the control");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_percent_loss_and_reordering_cost_time_and_nothing_else() -> Result<()> {
    let delay = Duration::from_millis(1)..Duration::from_millis(6);
    let (federation, logs, switches) = in_weather(50_000, 3, 0.05, delay)?;
    let mut disconnected = 0;
    let mut attempts = Vec::new();
    let observe = |seen| match seen {
        SimulationEvent::Node(_, NodeEvent::Disconnected { .. }) => disconnected += 1,
        SimulationEvent::Relay(Report::Completed(completed)) => attempts.push(completed.attempts),
        _ => {}
    };
    let ended = timeout(PATIENCE, federation.run(observe)).await??;
    assert_complete(&ended, &logs, 3);
    assert_eq!(disconnected, 0);
    assert_eq!(attempts, [1; 3]);
    for switch in &switches {
        assert!(switch.lost() > 0 && switch.overtaken() > 0, "{switch:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_silence_of_one_node_goes_unnoticed() -> Result<()> {
    const SILENCE: Duration = Duration::from_secs(3);
    assert!(SILENCE < IDLE_TIMEOUT / 2);
    let (mut federation, logs, switches) = in_weather(20_000, 2, 0.0, no_delay())?;
    let switch = switches[1].clone();
    in_round_2(&mut federation, 1, move || {
        switch.set_dark(true);
        let switch = switch.clone();
        std::thread::spawn(move || {
            std::thread::sleep(SILENCE);
            switch.set_dark(false);
        });
    });
    let mut disconnected = 0;
    let begun = Instant::now();
    let observe = |seen| {
        if let SimulationEvent::Node(_, NodeEvent::Disconnected { .. }) = seen {
            disconnected += 1;
        }
    };
    let ended = timeout(PATIENCE, federation.run(observe)).await??;
    assert_complete(&ended, &logs, 2);
    assert_eq!(disconnected, 0);
    assert!(switches[1].lost() > 0, "it was dark");
    assert!(begun.elapsed() >= SILENCE);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_for_longer_comes_back_and_the_round_begins_again() -> Result<()> {
    let (mut federation, logs, switches) = in_weather(20_000, 3, 0.0, no_delay())?;
    let (dark, since) = (switches[2].clone(), Arc::new(OnceLock::new()));
    let (darken, begins) = (dark.clone(), since.clone());
    in_round_2(&mut federation, 2, move || {
        begins.get_or_init(Instant::now);
        darken.set_dark(true);
    });
    let mut silence = None;
    let mut sides = (false, false);
    let mut attempts = BTreeMap::new();
    let observe = |seen| {
        match seen {
            // Both sides notice by themselves, and only then can it come back.
            SimulationEvent::Node(2, NodeEvent::Disconnected { .. }) => sides.0 = true,
            SimulationEvent::Relay(Report::Lost(_)) => sides.1 = true,
            SimulationEvent::Relay(Report::Completed(completed)) => {
                attempts.insert(completed.round, completed.attempts);
            }
            _ => {}
        }
        if sides == (true, true)
            && silence.is_none()
            && let Some(since) = since.get()
        {
            silence = Some(since.elapsed());
            dark.set_dark(false);
        }
    };
    let ended = timeout(PATIENCE, federation.run(observe)).await??;
    assert_complete(&ended, &logs, 3);
    // Either side gives up after the idle timeout since the last packet that it received.
    let silence = silence.context("it was noticed")?;
    assert!(silence > IDLE_TIMEOUT / 2, "{silence:?}");
    let attempts: Vec<_> = attempts.into_values().collect();
    assert!(attempts[1] > 1, "{attempts:?}");
    assert_eq!((attempts[0], attempts[2]), (1, 1));
    Ok(())
}

fn no_delay() -> std::ops::Range<Duration> {
    Duration::ZERO..Duration::from_millis(1)
}
