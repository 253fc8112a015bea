//! A bit that flips in a node's memory, between what it computes and what it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use fl_protocol::round::Refusal;
use fl_protocol::round::relay::Report;
use fl_protocol::sim::HEADER_WORDS;
use fl_shaders::Ring;
use fl_sharing::{Blinding, CpuEngine, DeviceError, Engine, EngineError, Input, MaskKey, Masked};
use fl_tests::federation::{Kits, Synthetic};
use fl_trainer::node::NodeEvent;
use fl_trainer::simulation::SimulationEvent;

use crate::support::federation::{EXAMPLES_MAX, assert_one_model, federation, member, verified};

const PARAMETERS: usize = 50_000;
const NODES: usize = 4;

/// The CPU engine in a machine whose memory is at fault now and then.
struct Faulty {
    calls: AtomicU32,
    /// Which of its calls to mask a vector are spoiled, from 1.
    spoiled: &'static [u32],
}

impl Engine for Faulty {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let done = CpuEngine.mask(input, blinding, masked)?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if self.spoiled.contains(&call) {
            // So low a bit that the sum stays within its bounds.
            masked[4 * (HEADER_WORDS + PARAMETERS / 2)] ^= 1;
        }
        Ok(done)
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
        CpuEngine.sum(ring, keys, sum)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_costs_an_attempt_and_no_round() -> Result<()> {
    for spoiled in [&[][..], &[2], &[1, 4]] {
        let kits = Kits::of_zeros(NODES, PARAMETERS, EXAMPLES_MAX)?;
        let members = (0..NODES).map(|node| {
            let trainer = Synthetic::new(PARAMETERS, 100, node as u64)?;
            let mut member = member(Box::new(trainer));
            if node == 2 {
                let calls = AtomicU32::new(0);
                member.engine = Arc::new(Faulty { calls, spoiled });
            }
            anyhow::Ok(member)
        });
        let federation = federation(members.collect::<Result<_>>()?, 3);
        let (mut taken_back, mut refused, mut attempts) = (Vec::new(), 0, Vec::new());
        let see = |event| match event {
            SimulationEvent::Relay(Report::RolledBack { round, nodes, .. }) => {
                assert_eq!(nodes.len(), NODES);
                taken_back.push(round);
            }
            SimulationEvent::Relay(Report::Completed(done)) => attempts.push(done.attempts),
            SimulationEvent::Node(_, NodeEvent::Refused(refusal)) => {
                assert_eq!(refusal, Refusal::Tag);
                refused += 1;
            }
            _ => {}
        };
        let ended = federation.run_with(&kits, |_| (), see).await?;

        // The second call is of round 2; where the first is spoiled, the fourth is of round 3.
        let (rounds, expected): (&[u64], &[u32]) = match spoiled {
            [] => (&[], &[1, 1, 1]),
            [2] => (&[2], &[1, 1, 2, 1]),
            _ => (&[1, 3], &[1, 2, 1, 1, 2]),
        };
        assert_eq!((&taken_back[..], &attempts[..]), (rounds, expected));
        assert_eq!(refused, NODES * rounds.len());
        assert_one_model(&ended, 3);

        let parties = (0..NODES).map(|node| format!("node-{node}"));
        for party in parties.chain(["relay".to_owned()]) {
            let rounds = verified(&kits, &party)?.rounds;
            assert_eq!(rounds.len(), 3, "{party}");
            let attempts = rounds.iter().map(|round| round.attempts).sum::<u32>();
            assert_eq!(attempts as usize, expected.len(), "{party}");
        }
    }
    Ok(())
}
