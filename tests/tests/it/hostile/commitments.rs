//! Real nodes under a relay that wants their masked sums before all participants have committed
//! themselves to theirs, and that has one of these on its side.

use std::sync::mpsc::{Sender, channel};

use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::round::message::Signed;
use fl_protocol::round::peer::OpenedSum;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::{Kind, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::federation::memory::sums_of;
use fl_tests::hostile_relay::met::{doubled, invalid, stale};
use fl_tests::hostile_relay::{Lie, Parcel, Record, VICTIM, consortium, lie};

use crate::support::lies::{OTHER, outcome, signed};

/// In league with the relay.
const MOLE: &str = "c";

/// How often something of the victim's masked sum has reached the relay: its body, or the tag share
/// that its signed root commits to.
fn opened(record: &Record) -> usize {
    let victim = record.id(VICTIM);
    let bodies = record.bodies.iter().filter(|(from, _)| *from == victim);
    let shares = record
        .heard
        .iter()
        .filter(|(from, frame)| *from == victim && matches!(frame, NodeFrame::TagShare { .. }));
    bodies.count() + shares.count()
}

/// Changes the signed sums that the victim is shown, and says how much of its own the relay has.
fn shown(
    met: fn(&Refusal) -> bool,
    seen: &Sender<usize>,
    change: impl Fn(&Record, &mut Vec<Signed<Sum>>) + Send + 'static,
) -> Lie {
    let seen = seen.clone();
    Lie::refused(met, move |record, parcels| match &mut parcels[..] {
        [Parcel::Frame(RelayFrame::Collect { sums, .. })] => {
            seen.send(opened(record)).unwrap();
            change(record, sums);
            true
        }
        _ => false,
    })
}

/// The sum of a node among these.
fn sum_of<'a>(record: &Record, sums: &'a mut [Signed<Sum>], node: NodeId) -> &'a mut Signed<Sum> {
    let mut sums = sums.iter_mut();
    sums.find(|sum| record.opened(sum).node == node).unwrap()
}

/// Signs, with this key, what the mole says in its sum, with a change.
fn instead(
    record: &Record,
    sums: &mut [Signed<Sum>],
    key: &Identity,
    change: impl FnOnce(&mut Sum),
) {
    let of_mole = sum_of(record, sums, record.id(MOLE));
    let mut sum = record.opened(of_mole);
    change(&mut sum);
    *of_mole = signed(&sum, key);
}

#[test]
fn a_real_node_uploads_nothing_before_all_participants_have_signed_their_sums() {
    let consortium = consortium("a,b,c");
    let key = consortium.identity(MOLE);
    let [of_another_context, in_its_name, second] = [(); 3].map(|()| key.clone());
    let (seen, opened) = channel();
    let lies = vec![
        shown(
            |refusal| matches!(refusal, Refusal::MissingSum(_)),
            &seen,
            |record, sums| {
                let mole = record.id(MOLE);
                sums.retain(|sum| record.opened(sum).node != mole);
            },
        ),
        shown(
            |refusal| matches!(refusal, Refusal::MissingSum(_)),
            &seen,
            |_, sums| sums.clear(),
        ),
        shown(
            |refusal| stale(refusal, Kind::Sum),
            &seen,
            move |record, sums| {
                instead(record, sums, &of_another_context, |sum| sum.ctx = OTHER);
            },
        ),
        // Another node's, in place of the mole's; and two of the mole's.
        shown(
            |refusal| doubled(refusal, Kind::Sum),
            &seen,
            |record, sums| {
                let another = sum_of(record, sums, record.id("b")).clone();
                *sum_of(record, sums, record.id(MOLE)) = another;
            },
        ),
        shown(
            |refusal| doubled(refusal, Kind::Sum),
            &seen,
            move |record, sums| {
                let first = sum_of(record, sums, record.id(MOLE)).clone();
                sums.push(first);
                instead(record, sums, &second, |sum| sum.root = OTHER);
            },
        ),
        // One in the victim's name, which only the victim could sign; and none.
        shown(
            |refusal| invalid(refusal, Kind::Sum),
            &seen,
            move |record, sums| {
                let own = sum_of(record, sums, record.id(VICTIM));
                let changed = Sum {
                    root: OTHER,
                    ..record.opened(own)
                };
                *own = signed(&changed, &in_its_name);
            },
        ),
        shown(
            |refusal| matches!(refusal, Refusal::MissingSum(_)),
            &seen,
            |record, sums| {
                let own = record.id(VICTIM);
                sums.retain(|sum| record.opened(sum).node != own);
            },
        ),
        // It has sent its own by now, and the mole would rather have signed something else.
        outcome(
            1,
            |refusal| *refusal == Refusal::OtherSums,
            move |record, outcome| {
                seen.send(self::opened(record)).unwrap();
                let (mole, ctx) = (record.id(MOLE), outcome.ctx);
                let mut sums = sums_of(outcome).iter_mut();
                let of_mole = sums.find(|opened| record.opened(&opened.sum).node == mole);
                let OpenedSum { sum, tag_share } = of_mole.unwrap();
                tag_share.tag[0] ^= 1;
                let other = Sum {
                    tag_commitment: tag_share.commitment(ctx, mole),
                    ..record.opened(sum)
                };
                *sum = signed(&other, &key);
            },
        ),
    ];
    let count = lies.len();
    lie(&consortium, "a,b,c", 1, lies);
    let seen: Vec<_> = opened.try_iter().collect();
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(before, vec![0; count - 1]);
    // The control: its body and its tag share, once all have committed themselves.
    assert_eq!(*last, 2);
}
