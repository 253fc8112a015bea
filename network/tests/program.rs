//! The relay's program as it is built, without anything else of the workspace.

use std::process::Command;

/// Also what makes `cargo test --workspace` build the program, for the tests of whole federations.
#[test]
fn the_relay_says_who_it_is() {
    let relay = Command::new(env!("CARGO_BIN_EXE_fl-relay"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(relay.status.success());
    let version = concat!("fl-relay ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(relay.stdout).unwrap(), version);
}
