//! What a node has on its disk: its log, its outbox, its state.
//!
//! Others rely on what a node announces, so whatever they may rely on is on the disk first, and
//! this is the only file that writes there. The order is:
//!
//! 1. **log**: what the machine accepts is in the log before what rests on it is done;
//! 2. **sync**: the log survives a loss of power before the outbox has what it explains;
//! 3. **keep**: a masked vector is in the outbox before it is announced;
//! 4. **send**: its announcement is what [`DurableNode::keep`] returns, so nothing gets around 1 to
//!    3.
//!
//! Two rules tie a round to the next one. The sums that this node has sent are on record before a
//! body goes out ([`DurableNode::record`]). And a new state goes to the disk beside the loop
//! ([`DurableNode::commit`]: log, model and state, then the outbox is emptied), but the log says
//! nothing of a result or a masked vector before the last state is there.
//!
//! A disk that does not take something is an inner error: the node steps back from what rests on
//! it, and goes on. A state that cannot be written is an outer one: the node ends, for the relay
//! has what it needs to begin again.

use std::sync::Arc;

use fl_network::audit::{LogError, NodeJournal};
use fl_network::kit::Kit;
use fl_network::store::{NodeStore, Outgoing, Reconciled, StoreError};
use fl_network::time::unix_s;
use fl_protocol::audit::{Entry, Record};
use fl_protocol::round::node::{Announcement, Pending};
use fl_protocol::round::peer::Proof;
use fl_protocol::round::{Head, SentSum, SentSums};
use fl_protocol::wire::NodeFrame;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::node::job::HashedBody;
use crate::node::{NodeError, NodeEvent};

/// A node's log and store.
pub(super) struct DurableNode {
    journal: NodeJournal,
    store: Arc<NodeStore>,
    /// The masked vector in the outbox.
    outgoing: Option<HashedBody>,
    /// The new state on its way to the disk.
    committing: Option<JoinHandle<Result<(), StoreError>>>,
    /// Memory of the last masked vector, for the next one.
    spare: Vec<u8>,
}

/// What a node remembers of its former run.
pub(super) struct Remembered {
    pub(super) head: Head,
    pub(super) model: Vec<f32>,
    pub(super) sent: SentSums,
    /// What the outbox holds.
    pub(super) pending: Option<Pending>,
    /// What the log proves of others.
    pub(super) proofs: Vec<Proof>,
}

/// Why the log or the outbox does not have something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DurableNode {
    /// Takes up what `store` remembers. An outbox that is damaged is emptied: without it this node
    /// cannot complete that attempt, and the relay has it begun again.
    pub(super) fn open(
        store: NodeStore,
        kit: &Kit,
        observe: &mut impl FnMut(NodeEvent),
    ) -> Result<(Self, Remembered), NodeError> {
        let (head, model) = store.load(kit)?;
        let (path, id) = (store.log_path(), kit.id());
        let (journal, logged) = NodeJournal::open(&path, &kit.manifest, id, head, unix_s())?;
        let (sent, reconciled) = store.reconcile(&logged.sums)?;
        if reconciled != Reconciled::default() {
            observe(NodeEvent::Reconciled(reconciled));
        }
        let outgoing = match store.outgoing(&kit.manifest, &head) {
            Ok(outgoing) => outgoing,
            Err(StoreError::Damaged { reason, .. }) => {
                observe(NodeEvent::OutboxLost { reason });
                store.forget()?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let (pending, outgoing) = outgoing
            .map(
                |Outgoing {
                     pending,
                     body,
                     hashes,
                 }| {
                    (
                        pending,
                        HashedBody {
                            bytes: body,
                            hashes,
                        },
                    )
                },
            )
            .unzip();
        let durable = Self {
            journal,
            store: Arc::new(store),
            outgoing,
            committing: None,
            spare: Vec::new(),
        };
        let remembered = Remembered {
            head,
            model,
            sent,
            pending,
            proofs: logged.proofs,
        };
        Ok((durable, remembered))
    }

    /// Logs an entry.
    pub(super) async fn log(&mut self, entry: Entry) -> Result<Result<(), LogError>, NodeError> {
        let result = matches!(entry, Entry::Outcome(_) | Entry::Adopted(_));
        let masked = matches!(entry, Entry::Sum(_) | Entry::Contribution(_));
        // The log tells by either that the last state is on the disk.
        if result || masked {
            self.committed().await?;
        }
        let unix_s = unix_s();
        match self.journal.append(Record { unix_s, entry }) {
            // Nothing is lost without the new state: the relay has it.
            Err(error) if result => Err(error.into()),
            appended => Ok(appended),
        }
    }

    /// Logs a masked vector and puts it into the outbox. Returns the frame that may now announce
    /// it.
    pub(super) async fn keep(
        &mut self,
        announcement: Announcement,
        body: HashedBody,
    ) -> Result<Result<NodeFrame, Unwritten>, NodeError> {
        let Announcement {
            entry,
            pending,
            frame,
        } = announcement;
        if let Err(error) = self.log(entry).await? {
            return Ok(Err(error.into()));
        }
        let (sync, store, bytes) = (self.journal.sync(), self.store.clone(), body.bytes.clone());
        // A node that goes on with the vector after a loss of power can show how it came about.
        let keep = move || {
            sync()?;
            store.keep(&pending, &bytes)
        };
        Ok(match spawn_blocking(keep).await? {
            Ok(()) => {
                self.outgoing = Some(body);
                Ok(frame)
            }
            Err(error) => Err(error.into()),
        })
    }

    /// Makes an entry of the record of sent sums durable.
    pub(super) async fn record(&self, sum: SentSum) -> Result<Result<(), StoreError>, NodeError> {
        let store = self.store.clone();
        Ok(spawn_blocking(move || store.record_sum(&sum)).await?)
    }

    /// Returns the lowest loss that was kept.
    pub(super) fn lowest_loss(&self) -> Option<f64> {
        self.store.lowest_loss()
    }

    /// Keeps the lowest loss so far. It need not survive a loss of power.
    pub(super) fn keep_lowest_loss(&self, loss: f64) -> Result<(), StoreError> {
        self.store.keep_lowest_loss(loss)
    }

    /// Makes a new state durable, then empties the outbox. Nobody waits for the disk: a node that
    /// loses the new state gets it from the relay once more.
    pub(super) fn commit(&mut self, head: Head, model: Arc<Vec<f32>>) {
        let (sync, store) = (self.journal.sync(), self.store.clone());
        self.committing = Some(spawn_blocking(move || {
            sync()?;
            store.commit(&head, &model)?;
            store.forget()
        }));
        if let Some(outgoing) = self.outgoing.take() {
            let unshared = outgoing.bytes.try_into_mut();
            self.spare = unshared.map(Vec::from).unwrap_or_default();
        }
    }

    /// Returns whether a new state is on its way to the disk.
    pub(super) fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// Waits until the new state is on the disk, if one is on its way there. Cancel-safe.
    pub(super) async fn committed(&mut self) -> Result<(), NodeError> {
        if let Some(committing) = &mut self.committing {
            let written = committing.await;
            self.committing = None;
            written??;
        }
        Ok(())
    }

    /// Returns the masked vector in the outbox.
    pub(super) fn outgoing(&self) -> Option<&HashedBody> {
        self.outgoing.as_ref()
    }

    /// Takes the memory of the last masked vector.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }
}
