//! A connection to the relay, and what lasts no longer than it: transfers, and masking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fl_network::client::{BodyTransfer, Link, LinkError};
use fl_network::quic::{ConnectionBytes, TransportError};
use fl_protocol::digest::Digest;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::wire::{BodyId, NodeFrame, RelayFrame};
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};

use crate::node::job::{HashedBody, JobResult};

/// How long the relay may take to accept a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection and its jobs, which are aborted when this is dropped.
pub(super) struct ConnectionJobs {
    link: Link,
    jobs: JoinSet<JobResult>,
    /// Of these, one at a time: a later one takes its place.
    upload: Option<AbortHandle>,
    download: Option<AbortHandle>,
    /// The model on its way to the relay. While it is, no other is begun, however often it is asked
    /// for.
    model_transfer: Option<AbortHandle>,
    /// By root: a holder may have several.
    reveal_uploads: BTreeMap<Digest, AbortHandle>,
    /// What the connection had cost at the end of the last round.
    counted: Cost,
}

/// What comes of a connection.
pub(super) enum FromRelay {
    Frame(RelayFrame),
    Job(JobResult),
    Lost(LinkError),
}

/// Bytes of a connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// UDP payload.
    pub(super) udp: ConnectionBytes,
    /// Messages and bodies.
    pub(super) payload: ConnectionBytes,
}

impl ConnectionJobs {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            jobs: JoinSet::new(),
            upload: None,
            download: None,
            model_transfer: None,
            reveal_uploads: BTreeMap::new(),
            counted: Cost::default(),
        }
    }

    /// Waits for the relay's next frame, or for a job to end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// A job died.
    pub(super) async fn next(&mut self) -> Result<FromRelay, JoinError> {
        loop {
            tokio::select! {
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => match done {
                    // Another has taken its place.
                    Err(error) if error.is_cancelled() => {}
                    done => return Ok(FromRelay::Job(done?)),
                },
                frame = self.link.recv() => {
                    return Ok(frame.map_or_else(FromRelay::Lost, FromRelay::Frame));
                }
            }
        }
    }

    /// Sends a frame. A relay that does not read is as good as none.
    pub(super) async fn send(&mut self, frame: &NodeFrame) -> Result<(), LinkError> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.link.send(frame)).await;
        sent.unwrap_or(Err(TransportError::TimedOut.into()))
    }

    /// Begins a download, in the place of any other.
    pub(super) fn download<J>(&mut self, job: impl FnOnce(BodyTransfer) -> J)
    where
        J: Future<Output = JobResult> + Send + 'static,
    {
        let download = self.jobs.spawn(job(self.link.bodies()));
        replace(&mut self.download, download);
    }

    /// Ends the download under way.
    pub(super) fn abort_download(&mut self) {
        if let Some(download) = self.download.take() {
            download.abort();
        }
    }

    /// Runs what may block.
    pub(super) fn spawn_blocking(&mut self, job: impl FnOnce() -> JobResult + Send + 'static) {
        self.jobs.spawn_blocking(job);
    }

    /// Uploads a masked vector.
    pub(super) fn upload(&mut self, id: BodyId, first_chunk: u32, body: HashedBody) {
        let upload = self.begin_upload(id, first_chunk, body);
        replace(&mut self.upload, upload);
    }

    /// Uploads a sum of masks.
    pub(super) fn upload_reveal(&mut self, id: BodyId, first_chunk: u32, body: HashedBody) {
        let upload = self.begin_upload(id, first_chunk, body);
        self.reveal_uploads
            .retain(|_, upload| !upload.is_finished());
        if let Some(former) = self.reveal_uploads.insert(id.subject, upload) {
            former.abort();
        }
    }

    fn begin_upload(&mut self, id: BodyId, first_chunk: u32, body: HashedBody) -> AbortHandle {
        let (bodies, HashedBody { bytes, hashes }) = (self.link.bodies(), body);
        self.jobs.spawn(async move {
            // A failed upload shows on the connection as well, and the relay asks again.
            let _ = bodies.upload(id, first_chunk, &hashes, bytes).await;
            JobResult::Uploaded
        })
    }

    /// Sends the relay a model, unless one is on its way. Returns whether it does.
    pub(super) fn transfer_model(&mut self, id: BodyId, model: Arc<Vec<f32>>) -> bool {
        let former = self.model_transfer.as_ref();
        if former.is_some_and(|transfer| !transfer.is_finished()) {
            return false;
        }
        let bodies = self.link.bodies();
        self.model_transfer = Some(self.jobs.spawn(async move {
            let read = move || HashedBody::of(Bytes::from(to_le_bytes(&model)));
            if let Ok(HashedBody { bytes, hashes }) = spawn_blocking(read).await {
                // As with a masked vector, a failure shows on the connection.
                let _ = bodies.upload(id, 0, &hashes, bytes).await;
            }
            JobResult::Uploaded
        }));
        true
    }

    /// Returns what the connection has cost since this was last asked.
    pub(super) fn take_cost(&mut self) -> Cost {
        let cost = Cost {
            udp: self.link.bytes(),
            payload: self.link.payload(),
        };
        let before = std::mem::replace(&mut self.counted, cost);
        Cost {
            udp: difference(cost.udp, before.udp),
            payload: difference(cost.payload, before.payload),
        }
    }

    /// Leaves, and waits until the relay knows.
    pub(super) async fn close(self, reason: &str) {
        drop(self.jobs);
        self.link.close(reason).await;
    }
}

/// Puts a job in the place of the former one, which is aborted.
fn replace(job: &mut Option<AbortHandle>, next: AbortHandle) {
    if let Some(former) = job.replace(next) {
        former.abort();
    }
}

fn difference(now: ConnectionBytes, before: ConnectionBytes) -> ConnectionBytes {
    ConnectionBytes {
        sent: now.sent.saturating_sub(before.sent),
        received: now.received.saturating_sub(before.received),
    }
}
