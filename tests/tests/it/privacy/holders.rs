//! What the relay and t holders see together tells them nothing but the sum.
//!
//! Of every contribution they can take off the masks of all classes but one: the class that t
//! holders lack. What is left of two federations whose members had very different updates is
//! compared: whatever is added up or subtracted, it looks like chance, and nobody can tell the two
//! apart.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use fl_protocol::metrics::{Metrics, Tally};
use fl_protocol::ring_bytes;
use fl_protocol::round::relay::Settings;
use fl_shaders::Ring;
use fl_sharing::{Input, Mask, MaskKey, Seed, Sign};
use fl_tests::federation::memory::counters;
use fl_tests::federation::{Federation, Kits, Member, RecordingEngine, add_mask, layout, masked};
use fl_tests::statistics::{DEVIATIONS, difference, is_uniform, told_apart};
use fl_trainer::{
    Layout, LocalTrainer, LocalUpdate, OrderSeed, Part, Progress, Sharing, TrainError,
};

use crate::support::federation::{EXAMPLES_MAX, federation, member};

const PARAMETERS: usize = 40_000;
const EXAMPLES: u32 = 500;
const NODES: usize = 6;
/// The holders that the relay has on its side.
const CORRUPT: [usize; 2] = [0, 1];
/// The others, one by one: their updates in one federation, and in the other. The sums are the
/// same.
const ONE: [f32; 4] = [0.9, 0.9, -0.9, -0.9];
const OTHER: [f32; 4] = [-0.9, 0.0, 0.0, 0.9];

/// Returns the same update whatever it is given.
struct Constant(Layout, f32);

impl LocalTrainer for Constant {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn initial(&mut self) -> Result<Vec<f32>, TrainError> {
        Ok(vec![0.0; self.0.len()])
    }

    fn examples(&self) -> u64 {
        EXAMPLES.into()
    }

    fn train(
        &mut self,
        _: &[f32],
        _: u64,
        _: &OrderSeed,
        _: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<LocalUpdate, TrainError> {
        Ok(LocalUpdate {
            update: vec![self.1; self.0.len()].into(),
            examples: EXAMPLES,
        })
    }

    fn evaluate(&mut self, _: &[f32]) -> Result<Tally, TrainError> {
        Ok(Tally::default())
    }

    fn pad(
        &mut self,
        _: Part,
        _: u32,
        _: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        Ok(())
    }
}

/// What is left of one round when all that the relay and the corrupt holders know is taken off.
struct View {
    /// Of each honest contributor: its input less one mask.
    hidden: Vec<Vec<u8>>,
    /// The sum of these masks, which was revealed.
    masks: Vec<u8>,
}

/// Runs a federation whose honest members have these updates, and gives what is seen of each round.
async fn views(updates: [f32; 4], rounds: u64) -> Result<Vec<View>> {
    let sharing = Sharing::Committee {
        holders: 5,
        threshold: 2,
    };
    let model = (layout(PARAMETERS)?, vec![0.0; PARAMETERS], Metrics::Answers);
    let kits = Kits::sharing(sharing, NODES, Ring::U32, EXAMPLES_MAX, model)?;
    let engines: Vec<_> = (0..NODES).map(|_| RecordingEngine::default()).collect();
    let members = engines.iter().enumerate().map(|(node, engine)| {
        let update = match CORRUPT.contains(&node) {
            true => 0.0,
            false => updates[node - CORRUPT.len()],
        };
        anyhow::Ok(Member {
            engine: Arc::new(engine.clone()),
            ..member(Box::new(Constant(layout(PARAMETERS)?, update)))
        })
    });
    let federation = Federation {
        settings: Settings::new(rounds, 1.0, NODES, 0..=NODES)?,
        ..federation(members.collect::<Result<_>>()?, rounds)
    };
    federation.run_with(&kits, |_| (), |_| ()).await?;

    // The first class is the one that the first two holders lack.
    let committee = kits.relay.manifest.committee().unwrap();
    let known = CORRUPT.map(|seat| committee.held_by(committee.holders()[seat]));
    let known = known[0].union(known[1]);
    assert_eq!(
        committee
            .classes()
            .all()
            .without(known)
            .iter()
            .collect::<Vec<_>>(),
        [0]
    );
    let view = |round: usize| {
        let calls: Vec<_> = engines
            .iter()
            .map(|engine| engine.calls()[round].clone())
            .collect();
        let hidden_keys: Vec<_> = calls.iter().map(|call| call.masks[0].0).collect();
        let honest = calls[CORRUPT.len()..].iter();
        let hidden = honest.map(|call| {
            let mut left = call.masked.clone();
            assert_eq!(call.masks.len(), committee.classes().count());
            for (key, sign) in &call.masks[1..] {
                assert_eq!(*sign, Sign::Minus);
                add_mask(&mut left, key, Sign::Plus);
            }
            left
        });
        // Of all sums of masks, one has those of the hidden class in it, of all contributors at
        // once.
        let revealed = engines.iter().flat_map(RecordingEngine::revealed);
        let mut revealed = revealed.filter(|(keys, _)| keys.contains(&hidden_keys[0]));
        let (keys, mut masks) = revealed.next().unwrap();
        assert!(revealed.next().is_none());
        assert!(hidden_keys.iter().all(|hidden| keys.contains(hidden)));
        let others = keys.iter().filter(|key| !hidden_keys.contains(key));
        let own = CORRUPT.map(|node| &hidden_keys[node]);
        others
            .chain(own)
            .for_each(|key| add_mask(&mut masks, key, Sign::Minus));
        View {
            hidden: hidden.collect(),
            masks,
        }
    };
    let rounds = usize::try_from(rounds)?;
    Ok((0..rounds).map(view).collect())
}

/// How often each of four vectors is taken, and whether the masks are added.
type Combination = ([i8; 4], bool);

/// All differences and sums of parts, and all sums of parts with the masks of all.
fn combinations() -> Vec<Combination> {
    let part = |k: i8, base: i8, least: i8| {
        [0, 1, 2, 3].map(|place: u32| least + k / base.pow(place) % base)
    };
    let differences = (0..81).map(|k| (part(k, 3, -1), false));
    let opened = (0..16).map(|k| (part(k, 2, 0), true));
    let all = differences.chain(opened);
    all.filter(|(taken, opened)| *opened || *taken != [0; 4])
        .collect()
}

impl View {
    fn combined(&self, (taken, opened): Combination) -> Vec<u8> {
        let mut sum = vec![0; self.masks.len()];
        for (vector, times) in self.hidden.iter().zip(taken) {
            let vector = match times {
                0 => continue,
                1 => vector.clone(),
                _ => difference(&vec![0; vector.len()], vector),
            };
            ring_bytes::add(Ring::U32, &mut sum, &vector);
        }
        if opened {
            ring_bytes::add(Ring::U32, &mut sum, &self.masks);
        }
        sum
    }
}

/// The combinations that give something away: that are not uniform, or by which the two can be told
/// apart.
fn telling(one: &View, other: &View) -> Vec<Combination> {
    let tells = |combination: &Combination| {
        let (one, other) = (one.combined(*combination), other.combined(*combination));
        !is_uniform(&one) || !is_uniform(&other) || told_apart(&one, &other).abs() > DEVIATIONS
    };
    combinations().into_iter().filter(tells).collect()
}

/// The sum of all, which is what a round is for.
const SUM: Combination = ([1; 4], true);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_and_t_holders_see_nothing_but_the_sum() -> Result<()> {
    let (one, other) = (views(ONE, 2).await?, views(OTHER, 2).await?);
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(telling(one, other), [SUM]);
    }
    // Nor do two rounds give more than each: the first vectors of the second less those of the
    // first.
    let between = |views: &[View]| {
        let pairs = views[0].hidden.iter().zip(&views[1].hidden);
        let differences = pairs.map(|(first, second)| difference(second, first));
        View {
            hidden: differences.collect(),
            masks: difference(&views[1].masks, &views[0].masks),
        }
    };
    assert_eq!(telling(&between(&one), &between(&other)), [SUM]);
    Ok(())
}

/// A view as it would be with these keys for the class that is hidden.
fn view_of(updates: [f32; 4], keys: [u8; 4]) -> Result<View> {
    let kits = Kits::of_zeros(3, PARAMETERS, EXAMPLES_MAX)?;
    let key = |seed: u8| -> MaskKey { Seed::from_bytes([seed; 32]).expand(&[0; 32]) };
    let hidden = updates.iter().zip(keys).map(|(update, seed)| {
        let update = vec![*update; PARAMETERS];
        let input = Input {
            format: kits.relay.manifest.fixed_point(),
            counters: &counters(500),
            update: &update,
        };
        let key = key(seed);
        let sign = Sign::Minus;
        masked(&input, &[Mask { key, sign }])
    });
    let hidden: Vec<_> = hidden.collect::<Result<_>>()?;
    let mut masks = vec![0; hidden[0].len()];
    keys.iter()
        .for_each(|seed| add_mask(&mut masks, key(*seed).expose(), Sign::Plus));
    Ok(View { hidden, masks })
}

/// Controls of the test above: seeds that serve twice, and one holder more.
#[test]
fn a_seed_that_serves_twice_or_one_holder_more_gives_an_update_away() -> Result<()> {
    let (one, other) = (view_of(ONE, [1, 2, 3, 4])?, view_of(OTHER, [5, 6, 7, 8])?);
    assert_eq!(telling(&one, &other), [SUM], "seeds that serve once");

    // Two contributors with one seed: their difference is that of their updates, which tells the
    // federations apart.
    let (twice, others) = (view_of(ONE, [1, 1, 3, 4])?, view_of(OTHER, [5, 5, 7, 8])?);
    let of_two = ([1, -1, 0, 0], false);
    assert!(telling(&twice, &others).contains(&of_two));
    let (seen, seen_there) = (twice.combined(of_two), others.combined(of_two));
    assert!(told_apart(&seen, &seen_there) > 100.0);

    // A contributor with one seed in two rounds: what has changed between them is in the open.
    let rounds = |updates: [f32; 4], then: [f32; 4]| -> Result<View> {
        let (first, second) = (
            view_of(updates, [1, 2, 3, 4])?,
            view_of(then, [1, 6, 7, 8])?,
        );
        let pairs = first.hidden.iter().zip(&second.hidden);
        let hidden = pairs.map(|(a, b)| difference(b, a)).collect();
        let masks = difference(&second.masks, &first.masks);
        Ok(View { hidden, masks })
    };
    let (one, other) = (rounds(ONE, OTHER)?, rounds(OTHER, ONE)?);
    let of_the_first = ([1, 0, 0, 0], false);
    assert!(telling(&one, &other).contains(&of_the_first));
    let (seen, seen_there) = (one.combined(of_the_first), other.combined(of_the_first));
    assert!(told_apart(&seen, &seen_there) > 100.0);

    // Whoever has the last class as well reads each update.
    let mut open = view_of(ONE, [1, 2, 3, 4])?.hidden.swap_remove(0);
    assert!(is_uniform(&open));
    add_mask(
        &mut open,
        Seed::from_bytes([1; 32]).expand(&[0; 32]).expose(),
        Sign::Plus,
    );
    assert!(!is_uniform(&open));
    Ok(())
}
