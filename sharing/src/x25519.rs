//! What X25519 does not check of a public key.

/// The points of low order, by their u-coordinates below 2^255 (RFC 7748, section 6.1).
const LOW_ORDER: [[u8; 32]; 7] = [
    first(0),
    first(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    // p − 1, p and p + 1.
    last(0xec),
    last(0xed),
    last(0xee),
];

/// Returns whether what is shared with this public key is zero, whatever the private one: its point
/// has a low order.
pub(crate) fn is_of_low_order(public: &[u8; 32]) -> bool {
    let mut u = *public;
    // X25519 ignores the highest bit.
    u[31] &= 0x7f;
    LOW_ORDER.contains(&u)
}

/// A small number.
const fn first(byte: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = byte;
    bytes
}

/// A number near p = 2^255 − 19.
const fn last(byte: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (byte, 0x7f);
    bytes
}

#[cfg(test)]
mod tests {
    use hpke::kem::X25519HkdfSha256;
    use hpke::{Deserializable as _, Kem};

    use super::*;

    /// Whether X25519 itself gives zero: DHKEM looks at it.
    fn shares_nothing(public: &[u8; 32]) -> bool {
        let (private, _) = X25519HkdfSha256::derive_keypair(&[7; 32]);
        let encapped = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(public).unwrap();
        X25519HkdfSha256::decap(&private, None, &encapped).is_err()
    }

    #[test]
    fn the_points_are_those_with_which_x25519_shares_nothing() {
        for point in LOW_ORDER {
            let mut high = point;
            high[31] |= 0x80;
            for point in [point, high] {
                assert!(is_of_low_order(&point) && shares_nothing(&point));
                let mut near = point;
                near[3] ^= 2;
                assert!(!is_of_low_order(&near) && !shares_nothing(&near));
            }
        }
        let mut base = [0; 32];
        base[0] = 9;
        assert!(!is_of_low_order(&base) && !shares_nothing(&base));
    }
}
