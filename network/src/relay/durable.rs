//! What the relay has on its disk: its log, its state, and the last result.
//!
//! Others must not hang on the relay's disk, so nothing waits for it but what has to:
//!
//! * **log**: an entry is appended before what rests on it is done, or later, in order, if the
//!   disk does not take it;
//! * **keep**: a result is on the disk before any node has all of it ([`DurableRelay::kept`]),
//!   since nodes that have it do not come back for it. The log is synced first;
//! * **commit**: the model that it leads to follows when enough nodes have taken the result. Until
//!   then the result can be taken back, and until then it can be averaged again.
//!
//! Writes follow each other, and each is tried again until it succeeds. So the disk is never more
//! than a result behind the nodes, which a relay that is killed could not make up for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fl_protocol::audit::{Entry, Record};
use fl_protocol::manifest::Manifest;
use fl_protocol::round::peer::Proof;
use fl_protocol::round::relay::LastResult;
use fl_protocol::round::training::average;
use fl_protocol::round::{Checkpoint, Head};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, warn};

use super::RelayError;
use crate::audit::RelayJournal;
use crate::kit::Kit;
use crate::store::{RelayStore, StoreError};
use crate::time::unix_s;

/// How long after a failure the disk is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The relay's log and store.
pub(super) struct DurableRelay {
    journal: RelayJournal,
    store: Arc<RelayStore>,
    /// Whether the last result, or the model that was adopted, is on the disk, once that is known.
    kept: watch::Receiver<Option<bool>>,
    /// What is on its way to the disk, and whether it gets there.
    writing: Option<JoinHandle<bool>>,
    /// Raised when nothing is tried again any more.
    stopping: watch::Sender<bool>,
}

impl DurableRelay {
    /// Takes up what the relay remembers.
    pub(super) fn open(kit: &Kit, store: RelayStore) -> Result<(Self, LoadedState), RelayError> {
        let mut loaded = LoadedState::read(kit, &store)?;
        let (path, manifest) = (store.log_path(), &kit.manifest);
        let (journal, proofs) = RelayJournal::open(&path, manifest, loaded.head, unix_s())?;
        loaded.proofs = proofs;
        let durable = Self {
            journal,
            store: Arc::new(store),
            kept: watch::channel(Some(loaded.last.is_some())).1,
            writing: None,
            stopping: watch::channel(false).0,
        };
        Ok((durable, loaded))
    }

    /// Logs an entry.
    pub(super) fn log(&mut self, entry: Entry) {
        let unix_s = unix_s();
        self.journal.append(Record { unix_s, entry });
    }

    /// Keeps a result. The model that it leads to can be computed again, from the one before, which
    /// is there.
    pub(super) fn keep(&mut self, last: Option<LastResult>, body: Bytes) {
        let (store, sync) = (self.store.clone(), self.journal.sync());
        self.kept = self.write("the result", move || {
            let synced = sync();
            if let Some(last) = &last {
                store.keep_result(last, &body)?;
            }
            Ok(synced?)
        });
    }

    /// Makes a model durable, now that there is no way back behind it.
    pub(super) fn commit(&mut self, head: Head, model: Arc<Vec<f32>>) {
        let store = self.store.clone();
        self.write("the new model", move || store.commit(&head, &model));
    }

    /// Keeps what lets nodes that have lost their state take the relay's.
    pub(super) fn certify(&mut self, checkpoint: Checkpoint) {
        let store = self.store.clone();
        let write = move || store.keep_checkpoint(&checkpoint);
        self.write("what certifies the new model", write);
    }

    /// Keeps the nodes' model, and what certifies it.
    pub(super) fn adopt(&mut self, checkpoint: Checkpoint, model: Arc<Vec<f32>>) {
        let (store, sync) = (self.store.clone(), self.journal.sync());
        self.kept = self.write("the nodes' model", move || {
            // The log first: it tells how the relay came to stand there.
            sync()?;
            store.commit(&checkpoint.head, &model)?;
            store.keep_checkpoint(&checkpoint)
        });
    }

    /// Forgets the last result, after all that was to be written before. Returns whether it did.
    pub(super) async fn roll_back(&mut self) -> bool {
        let store = self.store.clone();
        let forget = Arc::new(move || store.forget_result());
        follows(self.writing.take()).await && attempt("that a result is taken back", &forget).await
    }

    /// Returns whether the last result, or the model that was adopted, is on the disk, once that is
    /// known.
    pub(super) fn kept(&self) -> watch::Receiver<Option<bool>> {
        self.kept.clone()
    }

    /// Waits until it is known whether the last result is on the disk. Returns whether it is.
    pub(super) async fn is_kept(&mut self) -> bool {
        let kept = self.kept.wait_for(Option::is_some).await;
        kept.is_ok_and(|kept| *kept == Some(true))
    }

    /// Reads the bytes of the last result.
    pub(super) async fn read_result(&self, manifest: &Arc<Manifest>) -> Option<Bytes> {
        let (store, manifest) = (self.store.clone(), manifest.clone());
        match spawn_blocking(move || store.result(&manifest)).await {
            Ok(Ok(Some((_, body)))) => return Some(body),
            Ok(Ok(None)) => error!("the last result is gone"),
            Ok(Err(error)) => error!(%error, "the last result cannot be read"),
            Err(error) => error!(%error, "the last result cannot be read"),
        }
        None
    }

    /// Makes an empty folder for what arrives of an attempt.
    pub(super) fn spool(&self) -> Result<PathBuf, StoreError> {
        self.store.spool()
    }

    /// Waits for what is being written. What fails is not tried again.
    pub(super) async fn finish(&mut self) {
        self.stopping.send_replace(true);
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }

    /// Writes after all that was to be written before, and again until it succeeds. Returns whether
    /// it came to the disk, once that is known: it did not if the relay is stopped meanwhile.
    fn write(
        &mut self,
        what: &'static str,
        write: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> watch::Receiver<Option<bool>> {
        let (former, mut stopping) = (self.writing.take(), self.stopping.subscribe());
        let (writing, written) = watch::channel(None);
        let write = Arc::new(write);
        self.writing = Some(tokio::spawn(async move {
            let mut done = follows(former).await;
            while done && !attempt(what, &write).await {
                let stopped = stopping.wait_for(|stopping| *stopping);
                done = timeout(AGAIN_AFTER, stopped).await.is_err();
            }
            writing.send_replace(Some(done));
            done
        }));
        written
    }
}

/// Where the relay stands, its model, and the last result with its bytes.
pub(super) struct LoadedState {
    pub(super) head: Head,
    pub(super) model: Arc<Vec<f32>>,
    /// The model before the last result, if that can still be taken back.
    pub(super) former: Option<Arc<Vec<f32>>>,
    pub(super) last: Option<(LastResult, Bytes)>,
    /// Acknowledgements of this state, or of the one before.
    pub(super) checkpoint: Option<Checkpoint>,
    /// What the log proves of nodes.
    pub(super) proofs: Vec<Proof>,
}

impl LoadedState {
    /// Takes up what was kept. A result that was kept without its model is averaged again.
    fn read(kit: &Kit, store: &RelayStore) -> Result<Self, RelayError> {
        let (head, model) = store.load(kit)?;
        // Without these only nodes are worse off that lack the last result.
        let last = if_sound(store.result(&kit.manifest))?;
        let checkpoint = if_sound(store.checkpoint())?;
        let mut loaded = Self {
            head,
            model: Arc::new(model),
            former: None,
            last,
            checkpoint,
            proofs: Vec::new(),
        };
        let Some((LastResult { base, outcome }, body)) = &loaded.last else {
            return Ok(loaded);
        };
        if *base != head {
            return Ok(loaded);
        }
        let plan = kit.manifest.fixed_point();
        let addends = kit.manifest.addends(&outcome.parts.nodes(&kit.manifest));
        match average(body, &loaded.model, plan, addends, head, outcome.ctx) {
            Ok(averaged) if averaged.head.model == outcome.model => {
                loaded.head = averaged.head;
                loaded.former = Some(std::mem::replace(&mut loaded.model, averaged.model));
            }
            _ => {
                warn!("the last result does not lead to its model, and is left aside");
                loaded.last = None;
            }
        }
        Ok(loaded)
    }
}

fn if_sound<T>(kept: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match kept {
        Err(StoreError::Damaged { path, reason }) => {
            warn!("{} is left aside: {reason}", path.display());
            Ok(None)
        }
        kept => kept,
    }
}

/// Waits for what was to be written before. Says whether it was.
async fn follows(former: Option<JoinHandle<bool>>) -> bool {
    match former {
        Some(former) => former.await.unwrap_or(false),
        None => true,
    }
}

/// Returns whether it was written.
async fn attempt(
    what: &str,
    write: &Arc<impl Fn() -> Result<(), StoreError> + Send + Sync + 'static>,
) -> bool {
    let write = write.clone();
    match spawn_blocking(move || write()).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error!(%error, "{what} is not on disk; nothing goes on until it is"),
        Err(error) => error!(%error, "{what} is not on disk; nothing goes on until it is"),
    }
    false
}
