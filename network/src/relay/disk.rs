//! What the relay keeps on its disk, and takes up again.
//!
//! A result is kept before any node has all of it. The model that it leads to follows when a node has taken the result: until
//! then the result can be taken back, and until then it can be averaged again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fl_protocol::round::relay::LastResult;
use fl_protocol::round::training::average;
use fl_protocol::round::{Chain, Checkpoint};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, warn};

use super::{Driver, RelayError};
use crate::kit::Kit;
use crate::store::{RelayStore, StoreError};

/// How long after a failure the disk is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Where the relay stands, its model, and the last result with its bytes.
pub(super) struct Loaded {
    pub(super) chain: Chain,
    pub(super) model: Arc<Vec<f32>>,
    /// The model before the last result, if no node is known to have taken that.
    pub(super) former: Option<Arc<Vec<f32>>>,
    pub(super) last: Option<(LastResult, Bytes)>,
    /// Acknowledgements of this state, or of the one before.
    pub(super) checkpoint: Option<Checkpoint>,
}

/// Takes up what was kept. A result that was kept without its model is averaged again.
pub(super) fn load(kit: &Kit, store: &RelayStore) -> Result<Loaded, RelayError> {
    let (chain, model) = store.load(kit)?;
    // Without these only nodes are worse off that lack the last result.
    let last = if_sound(store.result(&kit.manifest))?;
    let checkpoint = if_sound(store.checkpoint())?;
    let mut loaded = Loaded {
        chain,
        model: Arc::new(model),
        former: None,
        last,
        checkpoint,
    };
    let Some((LastResult { base, outcome }, body)) = &loaded.last else {
        return Ok(loaded);
    };
    if *base != chain {
        return Ok(loaded);
    }
    let (plan, nodes) = (kit.manifest.fixed_point(), outcome.parts.len());
    match average(body, &loaded.model, plan, nodes, chain, outcome.ctx) {
        Ok(averaged) if averaged.chain.model == outcome.model => {
            loaded.chain = averaged.chain;
            loaded.former = Some(std::mem::replace(&mut loaded.model, averaged.model));
        }
        _ => {
            warn!("the last result does not lead to its model, and is left aside");
            loaded.last = None;
        }
    }
    Ok(loaded)
}

impl Loaded {
    /// Gives the way back up, and makes the model durable.
    pub(super) fn settle(&mut self, store: &RelayStore) -> Result<(), StoreError> {
        match self.former.take() {
            Some(_) => store.commit(&self.chain, &self.model),
            None => Ok(()),
        }
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

impl Driver {
    /// Writes after all that was to be written before, and again until it succeeds. Tells whether it came to the disk, once
    /// that is known: it did not if the relay is stopped meanwhile.
    ///
    /// So the disk is never more than a result behind the nodes, which a relay that is killed could not make up for.
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

    /// Keeps the result before any node has all of it, since nodes that have it do not come back for it. The model that
    /// it leads to can be computed again, from the one before, which is there.
    pub(super) fn keep(&mut self) {
        let (store, body, sync) = (self.store.clone(), self.result.clone(), self.journal.sync());
        let last = self.machine.last_result().cloned();
        self.kept = self.write("the result", move || {
            let synced = sync();
            if let Some(last) = &last {
                store.keep_result(last, &body)?;
            }
            Ok(synced?)
        });
    }

    /// Makes the model durable, now that there is no way back behind it.
    pub(super) fn commit(&mut self, chain: Chain) {
        let (store, model) = (self.store.clone(), self.model.clone());
        if self.shared.manifest.committee().is_some() {
            // The next one is made from a sum, and not in its place.
            self.former = None;
        }
        self.write("the new model", move || store.commit(&chain, &model));
    }

    /// Keeps what lets nodes that have lost their state take the relay's.
    pub(super) fn certify(&mut self, checkpoint: Checkpoint) {
        let store = self.store.clone();
        let write = move || store.keep_checkpoint(&checkpoint);
        self.write("what certifies the new model", write);
    }

    /// Takes the model that was lent for the relay's own.
    pub(super) fn adopt(&mut self, checkpoint: Checkpoint) {
        let Some(model) = self.lent.take() else {
            return;
        };
        self.model = model.clone();
        (self.former, self.restored, self.result) = (None, None, Bytes::new());
        let (store, sync) = (self.store.clone(), self.journal.sync());
        self.kept = self.write("the nodes' model", move || {
            // The log first: it tells how the relay came to stand there.
            sync()?;
            store.commit(&checkpoint.chain, &model)?;
            store.keep_checkpoint(&checkpoint)
        });
    }

    /// Removes the last result, and returns to the model before it. Says whether it did.
    pub(super) async fn take_back(&mut self) -> bool {
        let Some(former) = self.former.clone() else {
            return false;
        };
        let store = self.store.clone();
        let forget = Arc::new(move || store.forget_result());
        let removed = follows(self.writing.take()).await
            && attempt("that a result is taken back", &forget).await;
        if !removed {
            return false;
        }
        self.model = former;
        self.former = None;
        self.result = Bytes::new();
        self.restored = None;
        true
    }
}

/// Waits for what was to be written before. Says whether it was.
async fn follows(former: Option<JoinHandle<bool>>) -> bool {
    match former {
        Some(former) => former.await.unwrap_or(false),
        None => true,
    }
}

/// Says whether it was written.
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
