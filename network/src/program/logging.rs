//! Results on standard output; log lines and errors on standard error: terse, with colours only in
//! a terminal, filtered by `RUST_LOG`. Whatever a peer, a manifest or a file says in them, it is
//! one line of bounded length, and moves nothing on the terminal.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use tracing::error;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Bytes of a line that are shown.
const LINE_MAX: usize = 4 << 10;

/// Sets up logging for a binary; the default level is `info`.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,quinn=error,quinn_proto=error"));
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .fmt_fields(fields())
        .try_init();
}

/// Writes what an event says, each part of it as [`one_line`].
fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let part = |to: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = one_line(format_args!("{value:?}"));
        match field.name() {
            "message" => write!(to, "{value}"),
            name => write!(to, "{name}={value}"),
        }
    };
    debug_fn(part).delimited(" ")
}

/// Returns the first 4 KiB of `text` as one line that prints: controls, line ends, and characters
/// that change the direction of the text around them are escaped.
pub fn one_line(text: impl Display) -> String {
    let text = text.to_string();
    let (shown, rest) = text.split_at(text.floor_char_boundary(LINE_MAX));
    let mut line = String::with_capacity(shown.len());
    for character in shown.chars() {
        match character {
            // Which print.
            '\'' | '"' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    if !rest.is_empty() {
        line += &format!("… and {} bytes more", rest.len());
    }
    line
}

/// Prints a line. A reader that has seen enough and is gone, like `head`, ends nothing.
pub fn say(line: impl Display) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => error!(%error, "cannot print"),
        _ => {}
    }
}

/// Returns a number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// Returns an error with its causes, each said once: some errors already name their cause in their
/// own words. Its lines are each [`one_line`].
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::StorageFull)
        {
            said += "; make room and start again, nothing is lost";
        }
        cause = error.source();
    }
    let lines: Vec<_> = said.lines().map(one_line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::files::read_limited;

    #[test]
    fn sizes_are_told_in_a_unit_that_suits_them() {
        assert_eq!(bytes(9_999), "9999 B");
        assert_eq!(bytes(10_000), "10 kB");
        assert_eq!(bytes(9_999_499), "9999 kB");
        assert_eq!(bytes(10_000_000), "10.0 MB");
    }

    #[test]
    fn what_is_said_is_one_line_that_moves_nothing_and_has_an_end() {
        assert_eq!(
            one_line("naïve ‘α’ \\n \"x\" 'y'"),
            "naïve ‘α’ \\n \"x\" 'y'"
        );
        assert_eq!(
            one_line("ok\nERROR \u{1b}[31m\u{9b}2J\r\t\u{202e}\u{2028}\0"),
            "ok\\nERROR \\u{1b}[31m\\u{9b}2J\\r\\t\\u{202e}\\u{2028}\\0"
        );
        let long = "é".repeat(LINE_MAX);
        let shown = one_line(&long);
        assert!(shown.ends_with("é… and 4096 bytes more"), "{shown}");
        assert_eq!(one_line(&shown[..LINE_MAX]), shown[..LINE_MAX]);
        // Also where all of it has to be escaped.
        assert!(one_line("\u{202e}".repeat(LINE_MAX)).len() < 4 * LINE_MAX);
    }

    /// Where a logger's lines go.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn log_lines_cannot_be_forged_by_what_they_tell() {
        let logged = |own: bool| {
            let written = Written::default();
            let to = written.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || to.clone())
                .with_ansi(false);
            let log = || {
                let error = "gone\n2026 ERROR forged\u{202e}";
                tracing::warn!(%error, from = ?"a\nb", "turned away: {}", "x\nINFO y");
                tracing::warn!("{}", "x".repeat(100_000));
            };
            match own {
                true => {
                    let subscriber = subscriber.fmt_fields(fields()).finish();
                    tracing::subscriber::with_default(subscriber, log);
                }
                false => tracing::subscriber::with_default(subscriber.finish(), log),
            }
            let bytes = written.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        let text = logged(true);
        assert_eq!(text.lines().count(), 2, "{text}");
        let first = text.lines().next().unwrap();
        assert!(first.contains("turned away: x\\nINFO y"), "{first}");
        assert!(
            first.contains("error=gone\\n2026 ERROR forged\\u{202e}"),
            "{first}"
        );
        assert!(first.contains("from=\"a\\nb\""), "{first}");
        assert!(text.len() < 3 * LINE_MAX, "{} bytes", text.len());
        // The control: without this, lines are forged, and have no end.
        let text = logged(false);
        assert!(text.lines().count() > 2 && text.len() > 100_000, "{text}");
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = read_limited(Path::new("/no/such/file"), 1).unwrap_err();
        let cause = error.source().unwrap().to_string();
        let error = anyhow::Error::from(error).context("the kit cannot be used");
        let said = explain(error.as_ref());
        assert!(said.starts_with("the kit cannot be used: cannot read /no/such/file: "));
        assert_eq!(said.matches(&cause).count(), 1, "{said}");
    }
}
