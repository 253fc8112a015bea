//! What a node of the consortium may sign, or only say, that an honest one would not.

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::message::{Message, ResultAck, Signed};
use fl_protocol::round::peer::message::{Accusation, Sum};
use fl_protocol::round::peer::{Proof, SealedShare};
use fl_protocol::round::{Head, Refusal};
use fl_protocol::wire::NodeFrame;

use crate::fixture::{NODES, consortium};

/// The node in whose name lies are told.
pub(super) const LIAR: usize = NODES - 1;

/// A lie about the attempt of context `ctx`, of a relay that stands at `head`.
pub(super) fn lie(head: &Head, ctx: Digest, about: usize, which: usize) -> NodeFrame {
    let (from, to) = (consortium().id(LIAR), consortium().id(about % NODES));
    let (round, attempt) = (head.next_round(), (which / 8) as u32);
    let refused = |refusal| NodeFrame::Refused {
        round,
        attempt,
        refusal,
    };
    match which % 8 {
        0 => NodeFrame::Sum(signed(&Sum {
            ctx,
            node: from,
            root: Digest([which as u8; 32]),
            tag_commitment: Digest([about as u8; 32]),
        })),
        1 => {
            // To some of them: only one choice is what is due.
            let chosen = |node: &usize| which >> (3 + node) & 1 == 1;
            let to = (0..NODES).filter(chosen).map(|node| consortium().id(node));
            let shares = to.map(|to| sealed_share(ctx, to, vec![which as u8; about]));
            NodeFrame::Shares(shares.collect())
        }
        2 => NodeFrame::Ack(signed(&ResultAck {
            consortium_id: consortium().manifest.consortium_id(),
            node: from,
            head: *head,
        })),
        3 => refused(Refusal::Share { from: to }),
        4 => {
            let SealedShare { share, sealed } = sealed_share(ctx, to, vec![which as u8; about]);
            let accusation = Accusation {
                ctx,
                accuser: from,
                share,
                round_key: [about as u8; 32],
            };
            NodeFrame::Accusation(Proof {
                bundle: vec![signed(&consortium().keys(LIAR, head, attempt)); about % NODES],
                accusation: signed(&accusation),
                sealed,
            })
        }
        5 => {
            let among = |node: &usize| about >> node & 1 == 1;
            let sent_with = (0..NODES).filter(among).map(|node| consortium().id(node));
            refused(Refusal::Difference {
                sent_with: sent_with.collect(),
            })
        }
        6 => refused(Refusal::OwnKeys),
        _ => refused(Refusal::MissingSum(to)),
    }
}

fn sealed_share(ctx: Digest, to: NodeId, sealed: Vec<u8>) -> SealedShare {
    let (from, identity) = (consortium().id(LIAR), &consortium().identities[LIAR]);
    SealedShare::new(ctx, (from, to), sealed, identity).expect("a short message")
}

fn signed<T: Message>(message: &T) -> Signed<T> {
    consortium().sign(LIAR, message)
}
