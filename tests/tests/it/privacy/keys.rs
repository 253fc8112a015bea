//! Private keys, and the key that the nodes share, stay in their files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fl_tests::deployed::{Process, files_under, relay_address};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::contains;
use crate::support::consortium::{DATA, NODES, consortium};

#[test]
fn no_secret_key_is_in_any_log_or_file_but_its_own() {
    let consortium = consortium();
    let traced = |name, mut command: std::process::Command| {
        command.env("RUST_LOG", "trace");
        Process::start(name, command)
    };
    // The relay logs its address below the rest of its trace.
    let mut serve = consortium.serve(&["--rounds", "2", "--listen", "127.0.0.1:0"]);
    serve.env("RUST_LOG", "trace");
    let relay = Process::start("relay", serve);
    let address = relay_address(&relay);
    let nodes = NODES.map(|node| traced(node, consortium.train(node, address, DATA)));
    let mut logs: Vec<(String, Vec<u8>)> = Vec::new();
    for process in nodes.into_iter().chain([relay]) {
        let ended = process.ended().succeeded();
        assert!(ended.stderr.len() > 100, "not a trace: {}", ended.text());
        let text = [ended.stdout, ended.stderr].concat().join("\n");
        logs.push(("a log".to_owned(), text.into_bytes()));
    }
    let files = files_under(consortium.path());
    let (keys, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| {
        path.ends_with("epoch.key") || path.to_str().unwrap().ends_with("key.pem")
    });
    assert_eq!(keys.len(), 5 + 3, "private keys, and the nodes' shared one");
    let read = |path: &PathBuf| (path.display().to_string(), fs::read(path).unwrap());
    logs.extend(others.iter().map(read));

    for key in &keys {
        let patterns = forms(key);
        let own = fs::read(key).unwrap();
        assert!(
            patterns.iter().any(|form| contains(&own, form)),
            "the search finds what is there"
        );
        for (place, bytes) in logs.iter().chain(
            keys.iter()
                .map(read)
                .filter(|(_, bytes)| *bytes != own)
                .collect::<Vec<_>>()
                .iter(),
        ) {
            for form in &patterns {
                assert!(
                    !contains(bytes, form),
                    "{} stands in {place}",
                    key.display()
                );
            }
        }
    }
}

/// The ways in which a key could be written down.
fn forms(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap();
    let seed = match path.ends_with("epoch.key") {
        true => hex::decode(text.trim()).unwrap(),
        false => {
            let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).unwrap();
            // RFC 8410, section 7: 16 bytes of structure, then the seed.
            der.secret_pkcs8_der()[16..48].to_vec()
        }
    };
    let body = text.lines().filter(|line| !line.starts_with('-'));
    let hex = hex::encode(&seed);
    let numbers: Vec<_> = seed.iter().map(u8::to_string).collect();
    let mut forms: Vec<_> = body.map(|line| line.as_bytes().to_vec()).collect();
    forms.retain(|line| line.len() >= 40);
    assert!(!forms.is_empty());
    forms.extend([
        seed.to_vec(),
        // Half of it is bad enough.
        seed[16..].to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        numbers[..16].join(", ").into_bytes(),
        numbers[..16].join(",").into_bytes(),
    ]);
    // In base64 the same bytes look different at each of three offsets.
    forms.extend((0..3).map(|offset| base64(&seed[offset..offset + 27])));
    forms
}

/// RFC 4648, section 4, of a multiple of three bytes.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.as_chunks::<3>().0.iter();
    let words = groups.map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
    let digits = words.flat_map(|word| [18, 12, 6, 0].map(|shift| (word >> shift) as usize & 63));
    digits.map(|digit| ALPHABET[digit]).collect()
}

#[test]
fn private_keys_stand_in_their_own_files_which_only_their_owner_can_read() {
    let consortium = consortium();
    let files = files_under(&consortium.path().join("consortium"));
    let (mut keys, mut shared_keys) = (0, 0);
    for path in &files {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read(path).unwrap();
        let key = contains(&text, b"PRIVATE KEY");
        assert_eq!(key, name.ends_with("key.pem"), "{name}");
        let shared = name == "epoch.key";
        assert!(
            !(key || shared) || mode == 0o600,
            "{}: {mode:o}",
            path.display()
        );
        keys += usize::from(key);
        shared_keys += usize::from(shared);
    }
    assert_eq!(keys, 5, "three nodes, the relay, the authority");
    assert_eq!(shared_keys, 3, "the nodes only");
}
