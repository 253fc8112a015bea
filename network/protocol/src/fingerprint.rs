//! Digests as people compare them: by reading them to each other.

use std::fmt;

use crate::digest::Digest;
use crate::identity::PublicKey;
use crate::manifest::Manifest;

/// Forty digits that stand for a consortium or for its authority (the protocol, section 1). They
/// print in groups of five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u32; 8]);

impl Fingerprint {
    /// Returns the fingerprint of a consortium: of all that its manifest says, the nodes and their
    /// keys included.
    pub fn of_consortium(manifest: &Manifest) -> Self {
        Self::of("consortium", manifest.consortium_id())
    }

    /// Returns the fingerprint of an authority, which has this key.
    pub fn of_authority(key: &PublicKey) -> Self {
        Self::of("authority", key.node_id().0)
    }

    fn of(what: &str, digest: Digest) -> Self {
        let label = [b"smpcfl/2 fingerprint ", what.as_bytes(), &[0]].concat();
        let hash = Digest::sha256(&[&label, digest.as_bytes()]);
        let mut groups = [0; 8];
        for (group, bytes) in groups.iter_mut().zip(hash.as_bytes().as_chunks().0) {
            *group = u32::from_le_bytes(*bytes) % 100_000;
        }
        Self(groups)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.0.map(|group| format!("{group:05}"));
        f.write_str(&groups.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::sim::Consortium;

    #[test]
    fn a_fingerprint_is_groups_of_digits_and_another_for_each_thing() {
        let manifest = Consortium::new(3).manifest;
        let one = Fingerprint::of_consortium(&manifest);
        let groups: Vec<_> = one.to_string().split(' ').map(str::to_owned).collect();
        assert_eq!(groups.len(), 8);
        assert!(groups.iter().all(|group| group.len() == 5));
        assert!(groups.concat().bytes().all(|digit| digit.is_ascii_digit()));
        assert_ne!(
            one,
            Fingerprint::of_consortium(&Consortium::new(4).manifest)
        );
        let key = |name| Identity::of_test(name).public_key();
        let authority = Fingerprint::of_authority(&key("one"));
        assert_ne!(authority, Fingerprint::of_authority(&key("other")));
        // The same digest is not the same fingerprint where it stands for something else.
        assert_ne!(
            authority,
            Fingerprint::of("consortium", key("one").node_id().0)
        );
    }
}
