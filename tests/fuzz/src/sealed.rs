//! Sealed seeds.

use std::sync::OnceLock;

use arbitrary::Unstructured;
use fl_sharing::{RoundKey, SEALED_BYTES, Seed as Secret, seal};

use crate::Seed;

/// Who sealed what to whom, and when.
struct Sealed {
    key: RoundKey,
    ctx: [u8; 32],
    from: [u8; 32],
    to: [u8; 32],
    sealed: [u8; SEALED_BYTES],
}

const SECRET: [u8; 32] = [9; 32];

/// A box, its context and its parties are altered: it opens only where nothing is. The data are its
/// length and what is added to each byte, so that an input means the same under every key.
pub(crate) fn sealed_box(data: &[u8]) {
    let Sealed {
        key,
        ctx,
        from,
        to,
        sealed,
    } = sealed();
    let mut data = Unstructured::new(data);
    let length = usize::from(data.arbitrary::<u8>().unwrap_or_default());
    let mut altered: Vec<u8> = sealed
        .iter()
        .copied()
        .chain([0; 256])
        .take(length)
        .collect();
    let (mut ctx_, mut from_, mut to_) = (*ctx, *from, *to);
    for bytes in [&mut altered[..], &mut ctx_, &mut from_, &mut to_] {
        for byte in bytes {
            *byte ^= data.arbitrary::<u8>().unwrap_or_default();
        }
    }
    let same = altered == sealed && (ctx_, from_, to_) == (*ctx, *from, *to);
    match key.open(&ctx_, &from_, &to_, &altered) {
        Ok(seed) => {
            assert!(same, "what was altered opens");
            let secret = Secret::from_bytes(SECRET).expand(ctx);
            assert_eq!(seed.expand(ctx).expose(), secret.expose());
        }
        Err(error) => assert!(!same, "{error}"),
    }
    // Whatever key another node offers, sealing to it ends.
    let offered: [u8; 32] = data.arbitrary().unwrap_or_default();
    let _ = seal(&offered, ctx, from, to, &Secret::from_bytes(SECRET));
}

fn sealed() -> &'static Sealed {
    static SEALED: OnceLock<Sealed> = OnceLock::new();
    SEALED.get_or_init(|| {
        let key = RoundKey::generate().expect("the system has random bytes");
        let (ctx, from, to) = ([1; 32], [2; 32], [3; 32]);
        let sealed = seal(key.public(), &ctx, &from, &to, &Secret::from_bytes(SECRET));
        Sealed {
            sealed: sealed.expect("a key that was just drawn"),
            key,
            ctx,
            from,
            to,
        }
    })
}

pub(crate) fn sealed_boxes() -> Vec<Seed> {
    let length = SEALED_BYTES as u8;
    let mut flipped = vec![length];
    flipped.resize(1 + SEALED_BYTES + 3 * 32, 0);
    flipped[1 + SEALED_BYTES + 31] = 0x80;
    vec![
        ("unaltered".to_owned(), vec![length]),
        ("short".to_owned(), vec![length - 1]),
        ("other-context".to_owned(), flipped),
    ]
}
