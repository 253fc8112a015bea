//! How long a node's frames may be.

use fl_protocol::wire;

/// Returns the greatest length of a node's frame in bytes, with so many nodes in the manifest: what
/// a node of the peer scheme, or of any committee among them, has to send at once.
pub(super) fn frame_limit(nodes: usize) -> usize {
    let limit = (24 << 10) + (1 << 10) * nodes;
    limit.min(wire::MAX_FRAME_BYTES)
}

#[cfg(test)]
mod tests {
    use fl_protocol::digest::Digest;
    use fl_protocol::round::Head;
    use fl_protocol::round::committee::message::Contribution;
    use fl_protocol::round::committee::{Classes, Envelope, MAX_BOX_BYTES, MAX_HOLDERS};
    use fl_protocol::round::peer::{MAX_SEALED_BYTES, SealedShare};
    use fl_protocol::sim::Consortium;
    use fl_protocol::wire::{NodeFrame, RelayFrame, encode};

    use super::*;

    /// Length of the public half of a round key in suite 2.
    const PUBLIC_KEY_BYTES: usize = 1216;

    /// Length of a box of so many seeds.
    fn sealed_bytes(seeds: usize) -> usize {
        1136 + 32 * seeds
    }

    fn bytes(frame: &NodeFrame) -> usize {
        encode(frame).unwrap().len()
    }

    #[test]
    fn what_a_participant_sends_fits_whatever_the_number_of_nodes() {
        assert_eq!(MAX_SEALED_BYTES, sealed_bytes(1));
        let consortium = Consortium::new(3);
        let from_to = (consortium.id(0), consortium.id(1));
        let sealed = vec![1; MAX_SEALED_BYTES];
        let share = SealedShare::new(Digest([1; 32]), from_to, sealed, &consortium.identities[0]);
        let share = share.unwrap();
        for nodes in (3..20).chain([100, 999, 1000]) {
            let shares = NodeFrame::Shares(vec![share.clone(); nodes / 2]);
            assert!(bytes(&shares) <= frame_limit(nodes), "{nodes}");
        }
        let keys = consortium.sign(0, &consortium.keys(0, &head(&consortium), 1));
        let mut offer = consortium.offer(0, keys);
        offer.round_key = vec![1; PUBLIC_KEY_BYTES];
        assert!(bytes(&NodeFrame::Keys(offer)) <= frame_limit(3));
    }

    fn head(consortium: &Consortium) -> Head {
        Head::start(&consortium.manifest)
    }

    #[test]
    fn what_a_participant_is_sent_fits_with_the_most_nodes() {
        const NODES: usize = 1000;
        let consortium = Consortium::new(3);
        let keys = consortium.sign(0, &consortium.keys(0, &head(&consortium), 1));
        let shown = |keys_of: usize| RelayFrame::Keys {
            bundle: vec![keys.clone(); NODES],
            round_keys: vec![vec![1; PUBLIC_KEY_BYTES]; keys_of],
        };
        let bytes = encode(&shown(NODES / 2)).unwrap().len();
        assert!(bytes <= wire::MAX_FRAME_BYTES, "{bytes}");
        // The keys of all would not fit.
        assert!(encode(&shown(NODES)).is_err());
    }

    #[test]
    fn what_a_contributor_sends_fits_whatever_the_committee() {
        let consortium = Consortium::new(3);
        let contribution = Contribution {
            ctx: Digest([1; 32]),
            node: consortium.id(0),
            root: Digest([2; 32]),
            tag: [3, 4],
            envelope: Digest([5; 32]),
        };
        let contribution = consortium.sign(0, &contribution);
        let bounds = (2..=MAX_HOLDERS).flat_map(|k| (1..k).map(move |t| (k, t)));
        let committees: Vec<_> = bounds.filter_map(|(k, t)| Classes::new(k, t)).collect();
        assert!(committees.len() > 40, "{}", committees.len());
        for classes in committees {
            let holders = classes.holders();
            let held = (0..holders).map(|seat| classes.held_by(seat).len());
            let boxes: Vec<_> = held.map(|seeds| vec![7; sealed_bytes(seeds)]).collect();
            assert!(boxes.iter().all(|sealed| sealed.len() <= MAX_BOX_BYTES));
            let envelope = Envelope {
                commitments: vec![Digest([6; 32]); classes.count()],
                boxes,
            };
            let frame = NodeFrame::Contribution(contribution.clone(), envelope);
            let limit = frame_limit(holders.max(3));
            assert!(bytes(&frame) <= limit, "{holders}, {}", classes.threshold());
        }
    }
}
