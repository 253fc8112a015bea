//! Real nodes under a relay that lies about who takes part, and hands out what belongs elsewhere.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::Opening;
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::peer::SealedShare;
use fl_protocol::round::{Kind, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::PATIENCE;
use fl_tests::hostile_relay::met::{doubled, stale};
use fl_tests::hostile_relay::{
    Attack, Lie, Parcel, Record, Run, VICTIM, consortium, everyone, lie,
};

use crate::support::consortium::ended;
use crate::support::lies::{OTHER, Withholding, frame, keys, refuse_a_rerun, signed};

/// Changes the sealed shares on their way to the victim.
fn shares(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut Vec<SealedShare>) + Send + 'static,
) -> Lie {
    frame(met, move |record, frame| {
        let RelayFrame::Shares(boxes) = frame else {
            return false;
        };
        change(record, boxes);
        true
    })
}

/// Changes which round is opened, and what it is said to build on.
fn open(met: fn(&Refusal) -> bool, change: fn(&mut u64, &mut Digest, &mut Digest)) -> Lie {
    frame(met, move |_, frame| {
        let RelayFrame::Open { opening, .. } = frame else {
            return false;
        };
        let Opening {
            round,
            previous,
            model,
            ..
        } = opening;
        change(round, previous, model);
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

    // What could open a share, or undo a mask, is not among the messages, and whatever is said of a
    // round ends with the sum and the tag share that it commits to: no self-mask, no key, no second
    // sum.
    let heard: Vec<_> = hear.try_iter().collect();
    let nodes: BTreeSet<_> = heard.iter().map(|(node, _)| *node).collect();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let frames = heard.iter().filter(|(from, _)| *from == node);
        let kinds: Vec<_> = frames.map(|(_, frame)| frame.kind()).collect();
        let round = [
            Kind::Keys,
            Kind::Share,
            Kind::Sum,
            Kind::TagShare,
            Kind::Ack,
        ];
        assert_eq!(kinds, [&[Kind::Hello][..], &round, &round, &round].concat());
    }
}

#[test]
fn a_real_node_refuses_a_round_on_another_model_or_result() {
    let lies = vec![
        open(
            |refusal| matches!(refusal, Refusal::Model { theirs, .. } if *theirs == OTHER),
            |_, _, model| *model = OTHER,
        ),
        open(
            |refusal| matches!(refusal, Refusal::Previous { theirs, .. } if *theirs == OTHER),
            |_, previous, _| *previous = OTHER,
        ),
        open(
            |refusal| matches!(refusal, Refusal::NotNext { .. }),
            |round, _, _| *round += 1,
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_refuses_a_round_without_a_node_that_the_manifest_demands() {
    let without_d = || {
        keys(
            |refusal| matches!(refusal, Refusal::Participation { missing } if missing.len() == 1),
            |record, bundle| {
                let absent = record.id("d");
                bundle.retain(|keys| record.opened(keys).node != absent);
                true
            },
        )
    };
    // Again when it has come back.
    lie(
        &everyone("a,b,c,d"),
        "a,b,c,d",
        1,
        vec![without_d(), without_d()],
    );
}

#[test]
fn a_real_node_refuses_a_bundle_of_keys_for_each_thing_wrong_with_it() {
    let stranger = fl_network::pki::generate_identity().unwrap();
    let lies = vec![
        keys(
            |refusal| matches!(refusal, Refusal::Stranger(_)),
            move |record, bundle| {
                let node = stranger.node_id();
                let strange = Keys {
                    node,
                    ..record.opened(&bundle[0])
                };
                bundle.push(signed(&strange, &stranger));
                true
            },
        ),
        keys(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::TooFew {
                        found: 2,
                        min_nodes: 3
                    }
                )
            },
            |record, bundle| {
                let a = record.id("a");
                let foreign = bundle.iter().position(|keys| record.opened(keys).node != a);
                bundle.remove(foreign.unwrap());
                true
            },
        ),
        keys(
            |refusal| doubled(refusal, Kind::Keys),
            |_, bundle| {
                bundle.push(bundle[0].clone());
                true
            },
        ),
        // Of the first attempt: this is the fourth.
        keys(
            |refusal| matches!(refusal, Refusal::OwnKeys),
            |record, bundle| {
                bundle.clone_from(&record.bundles[0]);
                true
            },
        ),
        keys(
            |refusal| stale(refusal, Kind::Keys),
            |record, bundle| {
                let b = record.id("b");
                let of_b = |keys: &&mut Signed<Keys>| record.opened(&**keys).node == b;
                let former = record.bundles[0].iter();
                let mut former = former.filter(|keys| record.opened(*keys).node == b);
                *bundle.iter_mut().find(of_b).unwrap() = former.next().unwrap().clone();
                true
            },
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_refuses_keys_and_shares_of_a_former_round() {
    let lies = vec![
        // Only in the second round are there others.
        keys(
            |refusal| stale(refusal, Kind::Keys),
            |record, bundle| {
                let due = !record.results.is_empty();
                if due {
                    bundle.clone_from(&record.bundles[0]);
                }
                due
            },
        ),
        shares(
            |refusal| stale(refusal, Kind::Share),
            |record, boxes| {
                let victim = record.id(VICTIM);
                let mut former = record.boxes().into_iter();
                let former = former.find(|(share, _)| share.to == victim);
                *boxes = vec![former.unwrap().1];
            },
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 2, lies);
}

#[test]
fn a_real_node_refuses_boxes_that_are_for_another_or_come_in_anothers_name() {
    // Of five, two give the victim a share.
    let consortium = consortium("a,b,c,d,e");
    let lies = vec![
        shares(
            |refusal| matches!(refusal, Refusal::Stranger(_)),
            |record, boxes| boxes[0] = record.last_box(false, VICTIM),
        ),
        shares(
            |refusal| doubled(refusal, Kind::Share),
            |_, boxes| boxes[1] = boxes[0].clone(),
        ),
        // Another box than was signed.
        shares(
            |refusal| {
                let what = Kind::Share;
                matches!(refusal, Refusal::Invalid { what: found, .. } if *found == what)
            },
            |_, boxes| boxes[0].sealed = boxes[1].sealed.clone(),
        ),
    ];
    lie(&consortium, "a,b,c,d,e", 1, lies);
}

#[test]
fn a_real_node_proves_who_sealed_what_does_not_open_and_all_go_on_without_that_one() {
    // Of five, two give the victim a share. The relay and the second of them are in league, which
    // signs as its own what the first has sealed.
    let consortium = everyone("a,b,c,d,e");
    let givers = ["b", "c", "d", "e"].map(|name| consortium.identity(name));
    let (named, liar) = channel();
    let mut told = false;
    let bad_share = move |record: &Record, to: NodeId, parcels: &mut Vec<Parcel>| {
        let [Parcel::Frame(RelayFrame::Shares(boxes))] = &mut parcels[..] else {
            return;
        };
        if record.name(to) != VICTIM || std::mem::replace(&mut told, true) {
            return;
        }
        let first = record.opened(&boxes[0].share);
        let from = record.opened(&boxes[1].share).from;
        let mut givers = givers.iter();
        let traitor = givers.find(|identity| identity.node_id() == from).unwrap();
        let sealed = boxes[0].sealed.clone();
        boxes[1] = SealedShare::new(first.ctx, (from, first.to), sealed, traitor).unwrap();
        named.send(record.name(from).to_owned()).unwrap();
    };
    let mut run = Run::start(&consortium, "a,b,c,d,e", 2, bad_share);
    let liar = liar.recv_timeout(PATIENCE).unwrap();
    let proven = format!("{liar} is proven to have lied and takes no part any more");
    let others = ["a", "b", "c", "d", "e"]
        .into_iter()
        .filter(|name| *name != liar);
    others.for_each(|name| drop(run.node(name).line(&proven)));
    run.ends_convicted(&liar);
    assert_eq!(run.completes(), []);
    // Anyone who has a log sees it, offline.
    let checked = ended(consortium.verify_log(VICTIM)).succeeded();
    assert!(checked.text().contains(&proven), "{}", checked.text());
}

/// Shows the victim a bundle without `d`, once, and passes on whatever all then seal.
#[derive(Default)]
struct Fork {
    shared: usize,
}

impl Attack for Fork {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        if let [Parcel::Frame(frame @ RelayFrame::Keys { .. })] = &mut parcels[..]
            && let RelayFrame::Keys { bundle, .. } = frame
            && record.name(to) == VICTIM
            && self.shared < 4
        {
            let left_out = record.id("d");
            bundle.retain(|keys| record.opened(keys).node != left_out);
            *frame = record.keys_frame(to, bundle.clone());
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
        // The victim's comes first: a node that has all the others is past the phase of shares, and
        // does not look at another.
        let mut boxes = record.boxes();
        boxes.sort_by_key(|(share, _)| record.name(share.from) != VICTIM);
        let passed_on = boxes.into_iter().map(|(share, signed)| {
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
    // Of three, the victim gives one a share; of four, it receives from one at least. The others
    // wait in vain.
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

#[test]
fn real_nodes_refuse_a_rerun_without_one_of_them_after_their_sums_even_restarted() {
    let consortium = consortium("a,b,c,d");
    let (attack, results) = Withholding::new();
    let mut run = Run::start(&consortium, "a,b,c,d", 1, attack);
    results.wait();
    refuse_a_rerun(&mut run, &["a", "b", "c", "d"]);
    assert!(
        consortium
            .stands(VICTIM)
            .is_none_or(|stands| stands["round"] == 0)
    );

    // With the very same participants it goes on.
    results.release();
    run.relay.rerun_without(&[]);
    run.completes();
}
