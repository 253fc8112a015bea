//! A clean stop on Ctrl-C and SIGTERM.

/// Completes at the first Ctrl-C or SIGTERM since this call, whenever it is first polled.
///
/// Must be called within a tokio runtime.
#[cfg(unix)]
pub fn stop() -> impl Future<Output = ()> + use<> {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    async fn heard(signal: std::io::Result<Signal>) {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            // Then it does what it does by default: it ends the process.
            Err(_) => std::future::pending().await,
        }
    }
    let interrupt = signal(SignalKind::interrupt());
    let terminate = signal(SignalKind::terminate());
    async {
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
        }
    }
}

/// Completes at the first Ctrl-C.
#[cfg(not(unix))]
pub async fn stop() {
    let _ = tokio::signal::ctrl_c().await;
}
