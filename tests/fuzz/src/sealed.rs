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

/// Boxes are shorter than this.
const LONGEST: u16 = 2048;

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
    let length = usize::from(data.arbitrary::<u16>().unwrap_or_default() % LONGEST);
    let mut altered = sealed.to_vec();
    altered.resize(length, 0);
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
    let mut offered = *key.public();
    for byte in &mut offered {
        *byte ^= data.arbitrary::<u8>().unwrap_or_default();
    }
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
    let length = |length: usize| (length as u16).to_le_bytes().to_vec();
    let with = |at: usize, byte: u8| {
        let mut data = length(SEALED_BYTES);
        data.resize(2 + at, 0);
        data.push(byte);
        data
    };
    let offered = SEALED_BYTES + 3 * 32;
    vec![
        ("unaltered".to_owned(), length(SEALED_BYTES)),
        ("short".to_owned(), length(SEALED_BYTES - 1)),
        ("other-ml-kem".to_owned(), with(7, 1)),
        ("other-x25519".to_owned(), with(1100, 1)),
        ("other-context".to_owned(), with(SEALED_BYTES + 31, 0x80)),
        ("other-key".to_owned(), with(offered + 1200, 1)),
        ("no-key".to_owned(), with(offered + 1, 0xff)),
    ]
}
