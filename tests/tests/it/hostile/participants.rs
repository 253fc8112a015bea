//! Real nodes under a relay that lies about who takes part, and hands out what belongs elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use fl_network::kit::Kit;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::message::Share;
use fl_protocol::round::{Kind, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::PATIENCE;
use fl_tests::hostile_relay::{Attack, Lie, Parcel, Record, Run, VICTIM, consortium, lie};

const OTHER: Digest = Digest([9; 32]);

/// Changes the bundle of keys on its way to the victim.
fn keys(
    change: impl Fn(&Record, &mut Vec<Signed<Keys>>) + Send + 'static,
    met: fn(&Refusal) -> bool,
) -> Lie {
    Lie::refused(met, move |record, parcels| {
        let [Parcel::Frame(RelayFrame::Keys(bundle))] = &mut parcels[..] else {
            return false;
        };
        change(record, bundle);
        true
    })
}

/// Changes the sealed shares on their way to the victim.
fn shares(
    change: impl Fn(&Record, &mut Vec<Signed<Share>>) + Send + 'static,
    met: fn(&Refusal) -> bool,
) -> Lie {
    Lie::refused(met, move |record, parcels| {
        let [Parcel::Frame(RelayFrame::Shares(boxes))] = &mut parcels[..] else {
            return false;
        };
        change(record, boxes);
        true
    })
}

/// Changes what a round is said to build on.
fn open(change: fn(&mut Digest, &mut Digest), met: fn(&Refusal) -> bool) -> Lie {
    Lie::refused(met, move |_, parcels| {
        let [Parcel::Frame(RelayFrame::Open { opening, .. })] = &mut parcels[..] else {
            return false;
        };
        change(&mut opening.previous, &mut opening.model);
        true
    })
}

#[test]
fn a_relay_that_does_not_lie_completes_every_round_and_hears_nothing_after_a_sum() {
    let consortium = consortium("a,b,c");
    let (heard, hear) = channel();
    struct Listening(Sender<(NodeId, NodeFrame)>);
    impl Attack for Listening {
        fn send(&mut self, _: &Record, _: NodeId, _: &mut Vec<Parcel>) {}
        fn receive(
            &mut self,
            _: &Record,
            from: NodeId,
            frame: &NodeFrame,
        ) -> Option<Vec<(NodeId, Parcel)>> {
            self.0.send((from, frame.clone())).unwrap();
            None
        }
    }
    let run = Run::start(&consortium, "a,b,c", 3, Listening(heard));
    assert_eq!(run.completes(), []);

    // What could open a share, or undo a mask, is not among the messages, and whatever is said of a round ends with the
    // sum: no self-mask, no key, no second sum.
    let heard: Vec<_> = hear.try_iter().collect();
    let nodes: BTreeSet<_> = heard.iter().map(|(node, _)| *node).collect();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let frames = heard.iter().filter(|(from, _)| *from == node);
        let kinds: Vec<_> = frames.map(|(_, frame)| frame.kind()).collect();
        let round = [Kind::Keys, Kind::Share, Kind::Sum, Kind::Ack];
        assert_eq!(kinds, [&[Kind::Hello][..], &round, &round, &round].concat());
    }
}

#[test]
fn a_real_node_refuses_a_round_on_another_model_or_result() {
    let lies = vec![
        open(
            |_, model| *model = OTHER,
            |refusal| matches!(refusal, Refusal::Model { theirs, .. } if *theirs == OTHER),
        ),
        open(
            |previous, _| *previous = OTHER,
            |refusal| matches!(refusal, Refusal::Previous { theirs, .. } if *theirs == OTHER),
        ),
        Lie::refused(
            |refusal| matches!(refusal, Refusal::NotNext { .. }),
            |_, parcels| {
                let [Parcel::Frame(RelayFrame::Open { opening, .. })] = &mut parcels[..] else {
                    return false;
                };
                opening.round += 1;
                true
            },
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_refuses_a_bundle_of_keys_for_each_thing_wrong_with_it() {
    let stranger = fl_network::pki::generate_identity().unwrap();
    let lies = vec![
        keys(
            move |record, bundle| {
                let node = stranger.node_id();
                let strange = Keys {
                    node,
                    ..record.opened(&bundle[0])
                };
                bundle.push(Signed::new(&strange, &stranger).unwrap());
            },
            |refusal| matches!(refusal, Refusal::Stranger(_)),
        ),
        keys(
            |record, bundle| {
                let a = record.id("a");
                let foreign = bundle.iter().position(|keys| record.opened(keys).node != a);
                bundle.remove(foreign.unwrap());
            },
            |refusal| {
                matches!(
                    refusal,
                    Refusal::TooFew {
                        found: 2,
                        min_nodes: 3
                    }
                )
            },
        ),
        keys(
            |_, bundle| bundle.push(bundle[0].clone()),
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Duplicate {
                        what: Kind::Keys,
                        ..
                    }
                )
            },
        ),
        // Of the first attempt: this is the fourth.
        keys(
            |record, bundle| *bundle = record.bundles[0].clone(),
            |refusal| matches!(refusal, Refusal::OwnKeys),
        ),
        keys(
            |record, bundle| {
                let b = record.id("b");
                let of_b = |keys: &&mut Signed<Keys>| record.opened(&**keys).node == b;
                let former = record.bundles[0].iter();
                let mut former = former.filter(|keys| record.opened(*keys).node == b);
                *bundle.iter_mut().find(of_b).unwrap() = former.next().unwrap().clone();
            },
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Stale {
                        what: Kind::Keys,
                        ..
                    }
                )
            },
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_refuses_keys_and_shares_of_a_former_round() {
    let lies = vec![
        // Only in the second round are there others.
        Lie::refused(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Stale {
                        what: Kind::Keys,
                        ..
                    }
                )
            },
            |record, parcels| {
                let [Parcel::Frame(RelayFrame::Keys(bundle))] = &mut parcels[..] else {
                    return false;
                };
                if record.results.is_empty() {
                    return false;
                }
                *bundle = record.bundles[0].clone();
                true
            },
        ),
        shares(
            |record, boxes| {
                let victim = record.id(VICTIM);
                let mut former = record.boxes().into_iter();
                let former = former.find(|(share, _)| share.to == victim);
                *boxes = vec![former.unwrap().1];
            },
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Stale {
                        what: Kind::Share,
                        ..
                    }
                )
            },
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 2, lies);
}

#[test]
fn a_real_node_refuses_boxes_that_are_for_another_or_come_in_anothers_name() {
    // Of five, two give the victim a share.
    let consortium = consortium("a,b,c,d,e");
    let kits = ["b", "c", "d", "e"].map(|name| Kit::load(&consortium.kit(name)).unwrap());
    let lies = vec![
        shares(
            |record, boxes| boxes[0] = record.last_box(false, VICTIM),
            |refusal| matches!(refusal, Refusal::Stranger(_)),
        ),
        shares(
            |_, boxes| boxes[1] = boxes[0].clone(),
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Duplicate {
                        what: Kind::Share,
                        ..
                    }
                )
            },
        ),
        shares(
            // The relay and the other giver are in league, which signs as its own what the first has sealed.
            move |record, boxes| {
                let sealed = record.opened(&boxes[0]);
                let traitor = record.opened(&boxes[1]).from;
                let mut identities = kits.iter().map(|kit| kit.node_identity().unwrap());
                let identity = identities.find(|identity| identity.node_id() == traitor);
                let resubmitted = Share {
                    from: traitor,
                    ..sealed
                };
                boxes[1] = Signed::new(&resubmitted, identity.unwrap()).unwrap();
            },
            |refusal| matches!(refusal, Refusal::Share { .. }),
        ),
    ];
    lie(&consortium, "a,b,c,d,e", 1, lies);
}

/// Shows the victim a bundle without `d`, once, and passes on whatever all then seal.
#[derive(Default)]
struct Fork {
    shared: usize,
}

impl Attack for Fork {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        if let [Parcel::Frame(RelayFrame::Keys(bundle))] = &mut parcels[..]
            && record.name(to) == VICTIM
            && self.shared < 4
        {
            let left_out = record.id("d");
            bundle.retain(|keys| record.opened(keys).node != left_out);
        }
    }

    fn receive(
        &mut self,
        record: &Record,
        _: NodeId,
        frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        if frame.kind() != Kind::Share || self.shared == 4 {
            return None;
        }
        self.shared += 1;
        if self.shared < 4 {
            return Some(Vec::new());
        }
        let boxes = record.boxes().into_iter();
        let passed_on = boxes.map(|(share, signed)| {
            let frame = RelayFrame::Shares(vec![signed]);
            (share.to, Parcel::Frame(frame))
        });
        Some(passed_on.collect())
    }
}

#[test]
fn real_nodes_that_were_shown_different_participants_cannot_go_on_together() {
    let consortium = consortium("a,b,c,d");
    let run = Run::start(&consortium, "a,b,c,d", 1, Fork::default());
    // Of three, the victim gives one a share; of four, it receives from one at least. The others wait in vain.
    let what = Kind::Share;
    // Who has refused a share has left the attempt, and may still be sent another.
    let is_left = Refusal::Unexpected { what };
    let mut refused = BTreeSet::new();
    while refused.len() < 2 {
        let (node, refusal) = run.relay.refusal();
        if refused.contains(&node) && refusal == is_left {
            continue;
        }
        let stale = matches!(refusal, Refusal::Stale { what: found, .. } if found == what);
        assert!(stale, "{node}: {refusal}");
        run.says(&node, &refusal);
        refused.insert(node);
    }
    assert!(refused.remove(VICTIM), "{refused:?}");
    let other = refused.pop_first().unwrap();
    assert!(["b", "c"].contains(&&*other), "{other}");
    let others = run.completes();
    assert!(
        others.iter().all(|refusal| *refusal == is_left),
        "{others:?}"
    );
}

/// Keeps every result to itself for as long as it is told to, and says so.
struct Withholding {
    released: Arc<AtomicBool>,
    withheld: Sender<()>,
}

impl Attack for Withholding {
    fn send(&mut self, _: &Record, _: NodeId, parcels: &mut Vec<Parcel>) {
        if let [Parcel::Frame(RelayFrame::Outcome(_)), ..] = parcels[..]
            && !self.released.load(Ordering::Relaxed)
        {
            parcels.clear();
            // The test may know already.
            let _ = self.withheld.send(());
        }
    }
}

#[test]
fn real_nodes_refuse_a_rerun_without_one_of_them_after_their_sums_even_restarted() {
    let consortium = consortium("a,b,c,d");
    let released = Arc::new(AtomicBool::new(false));
    let (withheld, sums_are_in) = channel();
    let attack = Withholding {
        released: released.clone(),
        withheld,
    };
    let mut run = Run::start(&consortium, "a,b,c,d", 1, attack);
    sums_are_in.recv_timeout(PATIENCE).unwrap();

    run.relay.rerun_without(&["d"]);
    let mut refused = BTreeSet::new();
    while refused.len() < 3 {
        let (node, refusal) = run.relay.refusal();
        let with_all =
            matches!(&refusal, Refusal::Difference { sent_with } if sent_with.len() == 4);
        assert!(with_all, "{node}: {refusal}");
        run.node(&node)
            .line("a rerun must have the very same participants");
        refused.insert(node);
    }
    run.restart(VICTIM);
    run.node(VICTIM)
        .line("a rerun must have the very same participants");
    assert!(
        consortium
            .stands(VICTIM)
            .is_none_or(|stands| stands["round"] == 0)
    );

    // With the very same participants it goes on.
    released.store(true, Ordering::Relaxed);
    run.relay.rerun_without(&[]);
    run.completes();
}
