//! From the first connection to the last: connects, tries again, ends.

use std::pin::Pin;

use fl_network::client::Link;
use fl_network::program::logging::explain;
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::connection::ConnectionJobs;
use super::local::Local;
use super::{ConnectionEnd, NodeDriver};
use crate::node::{NodeError, NodeEvent, NodeOutcome, Participant};

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
/// Returns whether they are done. Nothing that is said before the relay has proven to be it ends
/// the node.
async fn serve(
    local: &mut Local<impl FnMut(NodeEvent)>,
    relay: Option<&str>,
    mut progress: mpsc::Receiver<NodeEvent>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool, NodeError> {
    let mut backoff = Backoff::new();
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
                    Ok(ConnectionEnd::Lost(error)) if error.is_replaced() => backoff.lengthen(),
                    Ok(ConnectionEnd::Lost(_)) => backoff.reset(),
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
        let retry_in = backoff.wait(rand::random());
        (local.observe)(NodeEvent::Disconnected { reason, retry_in });
        tokio::select! {
            () = tokio::time::sleep(retry_in) => {}
            () = stop.as_mut() => return Ok(false),
        }
    }
}
