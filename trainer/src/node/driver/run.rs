//! From the first connection to the last: connects, tries again, ends.

use std::pin::Pin;
use std::time::Duration;

use fl_network::client::Link;
use fl_network::program::logging::explain;
use tokio::sync::mpsc;

use super::connection::ConnectionJobs;
use super::local::Local;
use super::{ConnectionEnd, NodeDriver};
use crate::node::{NodeError, NodeEvent, NodeOutcome, Participant};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Takes part until all rounds are done, or until `stop` completes, or until there is no going on.
pub(in crate::node) async fn run(
    mut participant: Participant,
    observe: impl FnMut(NodeEvent),
    stop: impl Future<Output = ()>,
) -> Result<NodeOutcome, NodeError> {
    let relay = participant.relay.take();
    let (mut local, progress) = Local::new(participant, observe)?;
    tokio::pin!(stop);
    let served = serve(&mut local, relay.as_deref(), progress, stop).await;
    let written = local.durable.committed().await;
    let finished = match (served, written) {
        (served, Ok(())) => served,
        // What is not on disk is not done, whichever was known first.
        (Ok(_), Err(error)) => Err(error),
        // There is another end to tell of.
        (served, Err(error)) => {
            let reason = explain(&error);
            (local.observe)(NodeEvent::Failed { reason });
            served
        }
    };
    Ok(local.end(finished).await)
}

/// Serves one connection after the other until all rounds are done, or until `stop` completes.
/// Returns whether they are done.
async fn serve(
    local: &mut Local<impl FnMut(NodeEvent)>,
    relay: Option<&str>,
    mut progress: mpsc::Receiver<NodeEvent>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool, NodeError> {
    let mut retry = FIRST_RETRY;
    loop {
        let connected = tokio::select! {
            connected = Link::connect(&local.kit, relay) => connected,
            () = stop.as_mut() => return Ok(false),
        };
        let end = match connected {
            Ok(link) => {
                let connection = ConnectionJobs::new(link);
                let mut driver = NodeDriver { local, connection };
                let served = driver.serve(&mut progress, stop.as_mut()).await;
                let connection = driver.connection;
                local.disconnected();
                match &served {
                    // Two that take each other's place at once get nothing done.
                    Ok(ConnectionEnd::Lost(error)) if error.is_replaced() => retry = LAST_RETRY,
                    Ok(ConnectionEnd::Lost(_)) => retry = FIRST_RETRY,
                    Ok(ConnectionEnd::Finished) => connection.close("all rounds are done").await,
                    _ => connection.close("the node stops").await,
                }
                served?
            }
            Err(error) => ConnectionEnd::Lost(error),
        };
        let reason = match end {
            ConnectionEnd::Finished => return Ok(true),
            ConnectionEnd::Stopped => return Ok(false),
            ConnectionEnd::TurnedAway(refusal) if refusal.is_final() => {
                return Err(NodeError::TurnedAway(refusal));
            }
            ConnectionEnd::Lost(error) if error.is_final() => return Err(NodeError::Link(error)),
            ConnectionEnd::TurnedAway(refusal) => refusal.to_string(),
            ConnectionEnd::Lost(error) => error.to_string(),
        };
        local.durable.committed().await?;
        (local.observe)(NodeEvent::Disconnected {
            reason,
            retry_in: retry,
        });
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = stop.as_mut() => return Ok(false),
        }
        retry = (2 * retry).min(LAST_RETRY);
    }
}
