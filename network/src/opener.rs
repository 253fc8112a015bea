//! Tells round keys from other bytes, and opens boxes with those that their owners have published.

use fl_protocol::round::peer::BoxOpener;
use fl_sharing::{RoundKey, is_public_key};

/// What offers of keys are checked with, and accusations judged.
pub const OPENER: BoxOpener = BoxOpener {
    is_public_key,
    public_key: |secret| {
        RoundKey::published(secret).map_or(Vec::new(), |key| key.public().to_vec())
    },
    opens: |secret, share, sealed| {
        let (ctx, from, to) = (&share.ctx, &share.from, &share.to);
        RoundKey::published(secret).is_ok_and(|key| {
            let names = (ctx.as_bytes(), from.as_bytes(), to.as_bytes());
            key.open(names.0, names.1, names.2, sealed).is_ok()
        })
    },
};

#[cfg(test)]
mod tests {
    use fl_protocol::digest::Digest;
    use fl_protocol::identity::NodeId;
    use fl_protocol::round::peer::MAX_SEALED_BYTES;
    use fl_protocol::round::peer::message::Share;
    use fl_sharing::{Seed, seal};

    use super::*;

    #[test]
    fn a_box_opens_with_its_own_key_in_its_own_place_only() {
        let (key, other) = (RoundKey::generate().unwrap(), RoundKey::generate().unwrap());
        let digest = |byte| Digest([byte; 32]);
        let (ctx, from, to) = (digest(1), NodeId(digest(2)), NodeId(digest(3)));
        let seed = Seed::generate().unwrap();
        let sealed = seal(key.public(), &ctx.0, &from.0.0, &to.0.0, &seed).unwrap();
        let share = Share {
            ctx,
            from,
            to,
            sealed: Digest::sha256(&[&sealed]),
        };
        let public = *key.public();
        let (secret, other) = (key.publish(), other.publish());
        assert_eq!((OPENER.public_key)(&secret), public);
        assert_eq!(sealed.len(), MAX_SEALED_BYTES);
        assert!((OPENER.is_public_key)(&public));
        assert!(!(OPENER.is_public_key)(&public[1..]));
        assert!((OPENER.opens)(&secret, &share, &sealed));
        assert!(!(OPENER.opens)(&other, &share, &sealed));
        let mut elsewhere = share.clone();
        elsewhere.ctx = digest(9);
        assert!(!(OPENER.opens)(&secret, &elsewhere, &sealed));
        let mut altered = sealed;
        altered[40] ^= 1;
        assert!(!(OPENER.opens)(&secret, &share, &altered));
        let short = &sealed[..sealed.len() - 1];
        assert!(!(OPENER.opens)(&secret, &share, short));
    }
}
