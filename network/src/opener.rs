//! Opens boxes with round keys that their owners have published.

use fl_protocol::round::peer::BoxOpener;
use fl_sharing::RoundKey;

/// What accusations are judged with.
pub const OPENER: BoxOpener = BoxOpener {
    // A key that is none has no public half that anyone could have signed.
    public_key: |secret| RoundKey::published(secret).map_or([0; 32], |key| *key.public()),
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
