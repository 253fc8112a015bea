//! Real nodes under a relay that sends what is no message, and bodies of any length but the right
//! one.

use fl_protocol::wire::{self, MAX_MESSAGE_BYTES, RelayFrame};
use fl_tests::hostile_relay::{Flow, Lie, Parcel, Record, consortium, lie};

/// Sends `bytes` in the place of the opening of a round.
fn bytes(words: &'static str, bytes: impl Fn(&RelayFrame) -> Vec<u8> + Send + 'static) -> Lie {
    Lie::given_up(words, move |_, parcels| {
        let [Parcel::Frame(frame @ RelayFrame::Open { .. })] = &parcels[..] else {
            return false;
        };
        *parcels = vec![Parcel::Bytes(bytes(frame))];
        true
    })
}

/// Sends another body behind an honest outcome.
fn body(words: &'static str, change: fn(&mut Vec<u8>, &mut Flow)) -> Lie {
    Lie::given_up(words, move |_: &Record, parcels| {
        let [
            Parcel::Frame(RelayFrame::Outcome(_)),
            Parcel::Body(_, body, flow),
        ] = &mut parcels[..]
        else {
            return false;
        };
        let mut changed = body.to_vec();
        change(&mut changed, flow);
        *body = changed.into();
        true
    })
}

#[test]
fn a_real_node_survives_frames_that_are_none() {
    let lies = vec![
        bytes("malformed message", |_| vec![0xff; 64]),
        bytes("7 bytes follow the end of the message", |frame| {
            [&wire::encode(frame).unwrap()[..], &[0; 7]].concat()
        }),
        bytes("a frame of 1048577 bytes", |_| {
            vec![0; MAX_MESSAGE_BYTES + 1]
        }),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_survives_bodies_that_are_cut_short_or_do_not_end() {
    let lies = vec![
        body("the stream ended after", |body, _| {
            drop(body.split_off(100))
        }),
        body("the stream goes on after", |body, _| body.push(0)),
        body("the stream goes on after", |_, flow| *flow = Flow::Endless),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_gives_up_a_body_that_trickles() {
    let lies = vec![body("too slow", |_, flow| *flow = Flow::Trickling)];
    let consortium = consortium("a,b,c");
    // The honest allowance for a body as small as this one is a minute.
    consortium.amend(|manifest| manifest.timeouts.result_s = 1);
    lie(&consortium, "a,b,c", 1, lies);
}
