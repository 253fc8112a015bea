//! A process of the bench: what it says on its standard output, and how the bench lets it go on.

use std::fs;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use fl_datasets::Source;
use fl_network::kit::Kit;
use fl_network::quic::Server;
use serde::{Deserialize, Serialize};

use crate::costs::NodeCosts;
use crate::mode::Mode;

/// Ticks of a second in which Linux counts processor time for programs, whatever the kernel's own
/// clock.
const TICKS: f64 = 100.0;

/// A line of a party.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The relay listens here.
    Listening(SocketAddr),
    /// The node has its update, and waits to be let go.
    Ready,
    /// The node has completed a round.
    Round(NodeCosts),
    /// The relay has all uploads.
    Collected,
    /// The process has ended.
    Gone,
}

/// Says something to the bench.
pub(crate) fn tell(told: &Told) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, told)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Opens the relay's socket, and says where it is.
pub(crate) fn listen(kit: &Kit) -> anyhow::Result<Server> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nodes = kit.manifest.roster().len();
    let server = Server::bind(loopback, kit.server_tls()?, nodes)?;
    tell(&Told::Listening(server.local_address()?))?;
    Ok(server)
}

/// Says that the update is there, and waits until the bench lets this node go on.
pub(crate) fn ready() {
    if tell(&Told::Ready).is_ok() {
        // The process ends before the channel does.
        let _ = RELEASES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
    }
}

/// Ends this process when the bench is gone.
pub(crate) fn leave_with_bench() {
    LazyLock::force(&RELEASES);
}

/// A line of the bench each. When there are no more, the bench is gone, and there is nothing left
/// to do.
static RELEASES: LazyLock<Mutex<Receiver<()>>> = LazyLock::new(|| {
    let (release, releases) = channel();
    std::thread::spawn(move || {
        let lines = stdin().lock().lines();
        for _ in lines.map_while(Result::ok) {
            let _ = release.send(());
        }
        std::process::exit(0);
    });
    Mutex::new(releases)
});

/// A party's process, which ends with this.
pub(crate) struct Party {
    child: Child,
    input: Option<ChildStdin>,
}

impl Party {
    /// Starts party `number` with the kit in `folder`: a node where the `relay` is known, the relay
    /// where it is not. A node trains on its part of the data, if there is any.
    pub(crate) fn start(
        number: usize,
        folder: &Path,
        relay: Option<SocketAddr>,
        (mode, data): (Mode, Option<&Source>),
        told: &Sender<(usize, Instant, Told)>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot be found")?;
        let mut command = Command::new(program);
        command.arg("party").arg("--kit").arg(folder);
        command.arg("--mode").arg(mode.to_string());
        if let Some(data) = data {
            command.arg("--data").arg(data.to_string());
        }
        if let Some(relay) = relay {
            command.arg("--relay").arg(relay.to_string());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a party cannot be started")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let told = told.clone();
        std::thread::spawn(move || {
            for line in output
                .into_iter()
                .flat_map(|output| BufReader::new(output).lines())
            {
                let Some(line) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else {
                    break;
                };
                // Nobody listens any more when the bench is over.
                let _ = told.send((number, Instant::now(), line));
            }
            let _ = told.send((number, Instant::now(), Told::Gone));
        });
        Ok(Self { child, input })
    }

    /// Lets it go on.
    pub(crate) fn release(&mut self) -> anyhow::Result<()> {
        if let Some(input) = &mut self.input {
            writeln!(input).context("a party has ended")?;
        }
        Ok(())
    }

    /// Its peak resident memory so far in bytes; 0 where the system does not tell.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = self.read("status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        1024 * kilobytes.unwrap_or(0)
    }

    /// Processor time that it has used, in seconds; 0 where the system does not tell.
    pub(crate) fn processor_s(&self) -> f64 {
        let stat = self.read("stat").unwrap_or_default();
        // The name of the program, which may hold anything, stands in parentheses.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum::<f64>()
            / TICKS
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).ok()
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
