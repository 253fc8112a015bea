//! A consortium in a temporary folder, and its processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use fl_network::kit::Kit;
use fl_protocol::digest::{Digest, model_hash};
use fl_protocol::identity::Identity;
use fl_protocol::manifest::{Manifest, ManifestFile};
use fl_trainer::Checkpoint;
use serde_json::Value;
use tempfile::TempDir;

use super::{Process, files_under, fl_node, fl_relay};

/// A loopback address that nothing else takes while a relay that will come back to it is away.
///
/// The system's own choices, for sockets bound to port 0, begin higher: at 32768 on Linux.
///
/// # Panics
///
/// If all are in use.
pub fn own_address() -> SocketAddr {
    const PORTS: Range<u32> = 20_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Tests that run at the same time are threads of one process, or processes with different ids.
    let first = std::process::id().wrapping_mul(61);
    let mut addresses = PORTS.map(|_| {
        let given = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + given % (PORTS.end - PORTS.start);
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()))
    });
    let free = addresses.find(|address| UdpSocket::bind(address).is_ok());
    free.expect("a free port")
}

/// Waits until a relay listens. Returns the address that it prints.
///
/// # Panics
///
/// If it ends before.
pub fn relay_address(relay: &Process) -> SocketAddr {
    let line = relay.line(" rounds on ");
    let address = line.split(" rounds on ").nth(1).unwrap();
    address.split(' ').next().unwrap().parse().unwrap()
}

/// Flags of `provision` for rounds that go on without those who are lost.
pub const ANY: [&str; 3] = ["--participation", "any", "--accept-differences"];

/// A consortium that `fl-node provision` founded.
pub struct Consortium {
    folder: TempDir,
}

impl Consortium {
    /// Founds one of these nodes, joined by commas, with further flags for `provision`: for digits,
    /// with a seed that is always the same, and for as many examples as an embedded set has, if
    /// they do not say.
    pub fn found(nodes: &str, flags: &[&str]) -> Self {
        let figure = match flags.contains(&"breast-cancer") {
            true => "=500",
            false => "=1500",
        };
        let with_figure = |node: &str| match node.contains('=') {
            true => node.to_owned(),
            false => [node, figure].concat(),
        };
        let nodes: Vec<_> = nodes.split(',').map(with_figure).collect();
        let nodes = nodes.join(",");
        let folder = tempfile::tempdir().unwrap();
        let mut command = fl_node();
        command
            .current_dir(&folder)
            .args(["provision", "--nodes", &nodes, "--relay", "localhost:4433"])
            .args(["--out", "consortium"])
            .args(flags);
        if !flags.iter().any(|flag| ["--data", "--from"].contains(flag)) {
            command.args(["--data", "digits"]);
        }
        if !flags.contains(&"--seed") {
            command.args(["--seed", "42"]);
        }
        Process::start("provision", command).ended().succeeded();
        Self { folder }
    }

    /// Changes the manifest in all kits, and signs it again.
    pub fn amend(&self, change: impl FnOnce(&mut ManifestFile)) {
        let text = fs::read_to_string(self.kit("relay").join("manifest.toml")).unwrap();
        let mut file = toml::from_str(&text).unwrap();
        change(&mut file);
        let key = self.kit("authority").join("authority-key.pem");
        let authority = Identity::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
        let manifest = Manifest::sign(&file, &authority).unwrap();
        let signature = hex::encode(manifest.signature());
        for path in files_under(&self.path().join("consortium")) {
            match path.file_name().and_then(|name| name.to_str()) {
                Some("manifest.toml") => fs::write(path, manifest.bytes()).unwrap(),
                Some("manifest.sig") => fs::write(path, &signature).unwrap(),
                _ => {}
            }
        }
    }

    /// The temporary folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The kit of a node or of `relay`.
    pub fn kit(&self, party: &str) -> PathBuf {
        self.path().join("consortium").join(party)
    }

    /// A node's key, for one that is in league with somebody.
    ///
    /// # Panics
    ///
    /// If the kit is unusable.
    pub fn identity(&self, node: &str) -> Identity {
        let kit = Kit::load(&self.kit(node)).unwrap();
        kit.node_identity().unwrap().clone()
    }

    /// What a party remembers between restarts, where its program keeps it by itself.
    pub fn state(&self, party: &str) -> PathBuf {
        let manifest = fs::read(self.kit(party).join("manifest.toml")).unwrap();
        let id = Digest::sha256(&[&manifest]).to_hex();
        let party = format!("{party}-{}", &id[..16]);
        self.home().join("smpc-fl").join(party)
    }

    /// The record of the sums that the nodes have given. They are on one machine, each of another
    /// organisation.
    pub fn record(&self) -> PathBuf {
        self.home().join("smpc-fl/record")
    }

    /// The folder that the programs take for their user's.
    fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// A node's results.
    pub fn out(&self, node: &str) -> PathBuf {
        self.path().join("out").join(node)
    }

    /// `fl-relay serve`, to be run or to be given more flags.
    pub fn serve(&self, flags: &[&str]) -> Command {
        let mut command = fl_relay();
        command
            .current_dir(&self.folder)
            .env("XDG_STATE_HOME", self.home())
            .args(["serve", "--kit"])
            .arg(self.kit("relay"))
            .args(flags);
        command
    }

    /// Starts the relay on an address that stays its own. Returns that too.
    pub fn relay(&self, flags: &[&str]) -> (Process, SocketAddr) {
        self.relay_at(own_address(), flags)
    }

    /// Starts the relay on an address, and waits until it listens.
    pub fn relay_at(&self, address: SocketAddr, flags: &[&str]) -> (Process, SocketAddr) {
        let mut command = self.serve(flags);
        command.arg("--listen").arg(address.to_string());
        let relay = Process::start("relay", command);
        let address = relay_address(&relay);
        (relay, address)
    }

    /// `fl-node train`, to be run or to be given more flags.
    pub fn train(&self, node: &str, relay: SocketAddr, data: &str) -> Command {
        let mut command = fl_node();
        command
            .current_dir(&self.folder)
            .env("XDG_STATE_HOME", self.home())
            .args(["train", "--data", data, "--kit"])
            .arg(self.kit(node))
            .arg("--out")
            .arg(self.out(node))
            .args(["--relay", &relay.to_string()]);
        command
    }

    /// Starts a node.
    pub fn node(&self, node: &str, relay: SocketAddr, data: &str) -> Process {
        Process::start(node, self.train(node, relay, data))
    }

    /// `fl-node verify-log` on a party's log.
    pub fn verify_log(&self, party: &str) -> Command {
        let mut command = fl_node();
        command
            .env("XDG_STATE_HOME", self.home())
            .args(["verify-log", "--kit"])
            .arg(self.kit(party));
        command
    }

    /// A node's `run.json`.
    pub fn run(&self, node: &str) -> Value {
        let text = fs::read_to_string(self.out(node).join("run.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// What a party stands at: `state.json`, if it is there.
    pub fn stands(&self, party: &str) -> Option<Value> {
        let text = fs::read_to_string(self.state(party).join("state.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Checks that all `nodes` hold the very model that the relay has after `round`.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_one_model(&self, nodes: &[&str], round: u64) {
        let stands = self.stands("relay").unwrap();
        assert_eq!(stands["round"], round, "the relay");
        let file = format!("model-{round}.f32");
        let relays = fs::read(self.state("relay").join(&file)).unwrap();
        let first = fs::read(self.out(nodes[0]).join("global.safetensors")).unwrap();
        for node in nodes {
            assert_eq!(self.stands(node).as_ref(), Some(&stands), "{node}");
            let path = self.out(node).join("global.safetensors");
            assert!(
                fs::read(&path).unwrap() == first,
                "{node}'s file is another"
            );
            let model = Checkpoint::read(&path).unwrap();
            assert_eq!(model.round, round, "{node}");
            let parameters = model
                .parameters
                .iter()
                .flat_map(|value| value.to_le_bytes());
            assert!(
                parameters.eq(relays.iter().copied()),
                "{node}'s model is another"
            );
            assert_eq!(
                stands["model"],
                model_hash(&model.parameters).to_hex(),
                "{node}"
            );
            assert!(
                fs::read(self.state(node).join(&file)).unwrap() == relays,
                "{node}"
            );
            assert!(
                !self.state(node).join("outbox.bin").exists(),
                "{node}'s outbox"
            );
        }
    }
}
