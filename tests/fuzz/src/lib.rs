//! Fuzz targets: functions of arbitrary bytes that panic where a property of the protocol or of a
//! decoder fails.
//!
//! libFuzzer runs each in a program of its own, `fuzz_targets/NAME.rs`; `tests/replay.rs` runs all
//! of them on any toolchain. Each has a corpus in `corpus/NAME`, whose seeds are made from real
//! messages. The README says how to run them, and how to add one.

mod audit;
mod average;
mod committee;
mod data;
mod fixture;
mod folder;
mod kit;
mod manifest;
mod memory;
mod rounds;
mod sealed;
mod store;
mod tags;
mod wire;

use audit::Chaining;
use committee::decision::{self, Check};
use committee::holder;
use rounds::{Conduct, hostile, network, trouble};

/// An input to begin with, under a name.
pub type Seed = (String, Vec<u8>);

/// A function that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its program and of its corpus.
    pub name: &'static str,
    /// Panics where a property fails. What it does follows from the bytes alone.
    pub run: fn(&[u8]),
    /// Makes the inputs to begin with.
    pub seeds: fn() -> Vec<Seed>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Seed>) -> Target {
    Target { name, run, seeds }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("audit_log", audit::audit_log, audit::audit_logs),
    target("average", average::average, average::averaged),
    target("bulk_header", wire::bulk_header, wire::bulk_headers),
    target("csv", data::csv, data::csvs),
    target("decision", decision::decision, decision::decisions),
    target("holder", holder::holder, holder::holders),
    target(
        "hostile_relay",
        hostile::hostile_relay,
        hostile::hostile_relays,
    ),
    target("idx", data::idx, data::idxs),
    target("kit", kit::kit, kit::kits),
    target("manifest", manifest::manifest, manifest::manifests),
    target("network", network::network, trouble::networks),
    target("node_frame", wire::node_frame, wire::node_frames),
    target("parquet", data::parquet, data::parquet_seeds),
    target("pem", kit::pem, kit::pems),
    target("pictures", data::pictures, data::picture_seeds),
    target("relay_frame", wire::relay_frame, wire::relay_frames),
    target("safetensors", data::safetensors, data::safetensor_seeds),
    target("sealed_box", sealed::sealed_box, sealed::sealed_boxes),
    target(
        "signed_message",
        wire::signed_message,
        wire::signed_messages,
    ),
    target("store", store::store, store::stores),
];

/// A target with nodes that do not keep the protocol, so that a property of it fails.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// The target's name.
    pub target: &'static str,
    /// Runs it with these nodes.
    pub run: fn(&[u8]),
    /// What the panic says where the property fails.
    pub violated: &'static str,
}

/// All controls: without them, a property that holds might be one that cannot fail.
pub const CONTROLS: &[Control] = &[
    Control {
        target: "audit_log",
        run: |data| audit::audit_log_of(Chaining::Anew, data),
        violated: "a change that is not seen",
    },
    Control {
        target: "decision",
        run: |data| decision::decision_of(Check::Lenient, data),
        violated: "a result is not judged by the rule",
    },
    Control {
        target: "holder",
        run: |data| holder::holder_of(Conduct::Forgetful, data),
        violated: "two sets on one model",
    },
    Control {
        target: "hostile_relay",
        run: |data| hostile::hostile_relay_of(Conduct::Forgetful, data),
        violated: "two sets on one model",
    },
    Control {
        target: "hostile_relay",
        run: |data| hostile::hostile_relay_of(Conduct::Forgetful, data),
        violated: "a result on other signed sums",
    },
    Control {
        target: "hostile_relay",
        run: |data| hostile::hostile_relay_of(Conduct::Credulous, data),
        violated: "a sum that is not that of the inputs",
    },
    Control {
        target: "network",
        run: |data| network::network_of(Conduct::Forgetful, data),
        violated: "two sets on one model",
    },
];

/// Runs the target called `name`.
///
/// # Panics
///
/// If a property fails, or if there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let mut targets = TARGETS.iter();
    let target = targets.find(|target| target.name == name);
    (target.expect("a target of this name").run)(data);
}
