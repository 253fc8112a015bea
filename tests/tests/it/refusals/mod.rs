//! Bad data, bad settings, bad folders: each ends in an error that says what is wrong, and none in
//! a panic.

mod certificates;
mod command_line;
#[cfg(target_os = "linux")]
mod files;
mod node;
mod relay;
mod tables;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use fl_tests::deployed::fl_node;

use crate::support::consortium::ended;

/// An address without a relay.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Runs `fl-node` with these arguments in `folder`, and expects an error with `parts` in it.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    ended(fl_node().current_dir(folder).args(arguments)).refused(parts);
}
