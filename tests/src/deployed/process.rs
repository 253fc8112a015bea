//! A running program, its output line by line.

use std::borrow::BorrowMut;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

pub use rustix::process::Signal;

/// A child process. It is killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    read: Mutex<Lines>,
    more: Condvar,
}

#[derive(Clone, Default)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// Streams that are at their end.
    ended: u8,
}

/// What a process left behind.
pub struct Ended {
    name: String,
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Process {
    /// Starts `command` under a name for messages.
    pub fn start(name: &str, mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} does not start: {error}");
        });
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        output.clone().read(stdout, |lines| &mut lines.stdout);
        output.clone().read(stderr, |lines| &mut lines.stderr);
        Self {
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// The first line, of either stream, that contains `text`, once it is there.
    ///
    /// # Panics
    ///
    /// If the process ends without it, or after [`PATIENCE`].
    pub fn line(&self, text: &str) -> String {
        let found = self.output.wait(|lines| {
            let all = lines.stdout.iter().chain(&lines.stderr);
            all.into_iter().find(|line| line.contains(text)).cloned()
        });
        found.unwrap_or_else(|lines| panic!("{}: no line {text:?} in\n{lines}", self.name))
    }

    /// What it has written so far.
    pub fn so_far(&self) -> String {
        self.output.read.lock().unwrap().to_string()
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it at once (SIGKILL), and gives what it has written.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// After [`PATIENCE`].
    pub fn ended(mut self) -> Ended {
        let lines = self.output.wait(|lines| {
            let done = lines.ended == 2;
            done.then(|| lines.clone())
        });
        let lines = lines.unwrap_or_else(|lines| panic!("{} does not end:\n{lines}", self.name));
        Ended {
            name: self.name.clone(),
            code: self.child.wait().unwrap().code(),
            stdout: lines.stdout,
            stderr: lines.stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    /// Reads a stream in the background.
    fn read(
        self: Arc<Self>,
        stream: impl Read + Send + 'static,
        to: fn(&mut Lines) -> &mut Vec<String>,
    ) {
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                to(&mut self.read.lock().unwrap()).push(text);
                self.more.notify_all();
                line.clear();
            }
            self.read.lock().unwrap().ended += 1;
            self.more.notify_all();
        });
    }

    /// What `look` finds in the lines, sooner or later; or all lines, if it never will.
    fn wait<T>(&self, mut look: impl FnMut(&Lines) -> Option<T>) -> Result<T, Lines> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.read.lock().unwrap();
        loop {
            if let Some(found) = look(&lines) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended == 2 || left.is_zero() {
                return Err(lines.clone());
            }
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.stdout {
            writeln!(f, "  | {line}")?;
        }
        for line in &self.stderr {
            writeln!(f, "  ! {line}")?;
        }
        Ok(())
    }
}

impl Ended {
    /// Checks that it ended as it should, and gives it back.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text());
        assert!(!self.text().contains("panicked"), "{}", self.text());
        self
    }

    /// Checks that it refused with an error message that has all of `parts` in it.
    ///
    /// # Panics
    ///
    /// If it ended well, by a signal or in a panic, or with another message.
    #[track_caller]
    pub fn refused(self, parts: &[&str]) -> Self {
        let stderr = self.stderr.join("\n");
        assert!(matches!(self.code, Some(1 | 2)), "{}", self.text());
        assert!(!self.text().contains("panicked"), "{}", self.text());
        assert!(stderr.contains("error: "), "{}", self.text());
        for part in parts {
            assert!(stderr.contains(part), "no {part:?} in {}", self.text());
        }
        self
    }

    /// Lines of standard output as JSON.
    ///
    /// # Panics
    ///
    /// If one is something else.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &String| serde_json::from_str(line);
        let lines: Result<_, _> = self.stdout.iter().map(parse).collect();
        lines.unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Everything in one text, for messages.
    pub fn text(&self) -> String {
        let lines = Lines {
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            ended: 2,
        };
        format!("{} (exit code {:?}):\n{lines}", self.name, self.code)
    }
}
