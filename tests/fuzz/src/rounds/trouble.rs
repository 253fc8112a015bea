//! What can go wrong between a relay and its nodes: what a step of the target `network` does. The
//! number is the step's first byte modulo [`KINDS`].

use super::seed;
use crate::Seed;

pub(super) const GO_ON: u8 = 0;
pub(super) const UP: u8 = 1;
pub(super) const DOWN: u8 = 2;
pub(super) const UP_AGAIN: u8 = 3;
pub(super) const DOWN_AGAIN: u8 = 4;
pub(super) const DROP_UP: u8 = 5;
pub(super) const DROP_DOWN: u8 = 6;
pub(super) const ALTER_UP: u8 = 7;
pub(super) const ALTER_DOWN: u8 = 8;
pub(super) const LIE: u8 = 9;
pub(super) const CUT: u8 = 10;
pub(super) const CONNECT: u8 = 11;
pub(super) const CRASH: u8 = 12;
pub(super) const WORK: u8 = 13;
pub(super) const WAIT: u8 = 14;
pub(super) const RESTART_RELAY: u8 = 15;
pub(super) const MISDIRECT: u8 = 16;
pub(super) const KINDS: u8 = 17;

pub(crate) fn networks() -> Vec<Seed> {
    vec![
        seed("peace", &[[GO_ON, 0, 255]]),
        seed(
            "cut",
            &[[GO_ON, 0, 40], [CUT, 1, 0], [GO_ON, 0, 60], [CUT, 2, 0]],
        ),
        seed(
            "crash",
            &[[GO_ON, 0, 50], [CRASH, 0, 1], [GO_ON, 0, 30], [CRASH, 1, 0]],
        ),
        seed(
            "relay",
            &[[GO_ON, 0, 70], [RESTART_RELAY, 0, 0], [GO_ON, 0, 200]],
        ),
        // A round of the first three begins without the fourth. Node 0 is the first whose sum is
        // asked for, and then it has only its disk to know that from.
        seed(
            "bound",
            &[
                [WAIT, 0, 77],
                [GO_ON, 0, 36],
                [CRASH, 0, 1],
                [RESTART_RELAY, 0, 0],
            ],
        ),
        seed(
            "order",
            &[
                [GO_ON, 0, 20],
                [UP, 0, 1],
                [DOWN, 1, 1],
                [WORK, 2, 0],
                [GO_ON, 0, 99],
            ],
        ),
        seed(
            "again",
            &[
                [GO_ON, 0, 60],
                [UP_AGAIN, 0, 3],
                [DOWN_AGAIN, 1, 2],
                [GO_ON, 0, 99],
            ],
        ),
        seed(
            "loss",
            &[
                [GO_ON, 0, 30],
                [DROP_UP, 0, 0],
                [DROP_DOWN, 1, 0],
                [WAIT, 0, 255],
                [GO_ON, 0, 99],
            ],
        ),
        seed(
            "alter",
            &[
                [GO_ON, 0, 30],
                [ALTER_UP, 0, 9],
                [ALTER_DOWN, 1, 40],
                [GO_ON, 0, 99],
            ],
        ),
        seed(
            "lie",
            &[
                [GO_ON, 0, 55],
                [LIE, 0, 0],
                [LIE, 1, 11],
                [LIE, 7, 13],
                [GO_ON, 0, 200],
            ],
        ),
        seed(
            "misdirect",
            &[
                [GO_ON, 0, 35],
                [MISDIRECT, 0, 1],
                [CONNECT, 1, 0],
                [GO_ON, 0, 99],
            ],
        ),
    ]
}
