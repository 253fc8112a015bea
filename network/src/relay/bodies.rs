//! The bodies of the attempt under way: where they are put, what is asked for, and their average.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::Signed;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Head, Refusal};
use fl_protocol::wire::{BodyKind, RelayFrame};
use fl_shaders::Addends;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::error;

use super::accumulator::Accumulator;
use super::intake::{BodySource, Intake};
use super::model_transfer::ModelTransfer;
use super::spool::Spool;

/// What an averaging thread brings back: the bytes of a sum, and what they lead to.
pub(super) type Average = (Bytes, Result<Averaged, Refusal>);

/// What arrives from the nodes. Connections put it where [`Bodies::watch`] says.
pub(super) struct Bodies {
    manifest: Arc<Manifest>,
    intakes: watch::Sender<Option<Arc<Intake>>>,
    averaging: JoinSet<Option<Average>>,
    /// A node's model that is here whole, to be taken for the relay's own.
    model: Option<Arc<Vec<f32>>>,
}

impl Bodies {
    /// Expects nothing yet.
    pub(super) fn new(manifest: Arc<Manifest>) -> Self {
        Self {
            manifest,
            intakes: watch::channel(None).0,
            averaging: JoinSet::new(),
            model: None,
        }
    }

    /// Returns where to put what arrives.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Intake>>> {
        self.intakes.subscribe()
    }

    /// Adds up the bodies of these nodes as they arrive, and averages them onto the model. `sum`
    /// and `spare` are memory to reuse.
    pub(super) fn accumulate(
        &self,
        ctx: Digest,
        addends: Addends,
        model: Arc<Vec<f32>>,
        (mut sum, spare): (Vec<u8>, Vec<f32>),
    ) {
        sum.fill(0);
        sum.resize(self.manifest.body_bytes(), 0);
        let plan = self.manifest.fixed_point();
        let sum = Accumulator::new(ctx, plan, sum, addends, model, spare);
        self.expect(Intake::Sum(Box::new(sum)));
    }

    /// Keeps bodies apart in `folder`, until it is known which are added up.
    pub(super) fn spool(&self, ctx: Digest, folder: PathBuf) {
        let spool = Spool::new(ctx, folder, self.manifest.body_bytes());
        self.expect(Intake::Spool(spool));
    }

    /// Expects a node's model.
    pub(super) fn receive_model(&self, node: NodeId, model: Digest) {
        let transfer = ModelTransfer::new(node, model, self.manifest.parameters());
        self.expect(Intake::Model(transfer));
    }

    fn expect(&self, intake: Intake) {
        self.intakes.send_replace(Some(Arc::new(intake)));
    }

    /// Expects nothing any more, and forgets what is here.
    pub(super) fn discard(&self) {
        self.intakes.send_replace(None);
    }

    /// Expects a body with this root in the attempt `ctx`. Returns what asks for what is missing,
    /// and shows these signed sums.
    pub(super) fn collect(
        &self,
        source: BodySource,
        (ctx, root): (Digest, Digest),
        sums: Vec<Signed<Sum>>,
    ) -> Option<RelayFrame> {
        let intake = self.current(ctx)?;
        let first_chunk = u32::try_from(intake.expect(source, root)).unwrap_or(u32::MAX);
        Some(RelayFrame::request(source.1, first_chunk, sums))
    }

    /// A body is here whole that belongs to `subject`. Returns whether it is what it should be, or
    /// nothing if it is not expected any more.
    pub(super) fn added(&mut self, subject: Digest) -> Option<bool> {
        Some(match &*self.current(subject)? {
            Intake::Sum(_) | Intake::Spool(_) => true,
            // Once in a relay's life, so nobody minds that it is hashed here.
            Intake::Model(transfer) => {
                self.discard();
                self.model = transfer.model().map(Arc::new);
                self.model.is_some()
            }
        })
    }

    fn current(&self, subject: Digest) -> Option<Arc<Intake>> {
        let intake = self.intakes.borrow().clone();
        intake.filter(|intake| intake.subject() == subject)
    }

    /// Takes the node's model that is here.
    pub(super) fn take_model(&mut self) -> Option<Arc<Vec<f32>>> {
        self.model.take()
    }

    /// Averages the sum of these bodies onto the model beside the loop, unless that was done on
    /// their arrival. No more are to come.
    pub(super) fn average(
        &mut self,
        head: Head,
        ctx: Digest,
        bodies: Vec<BodySource>,
        model: Arc<Vec<f32>>,
    ) {
        let Some(intake) = self.intakes.send_replace(None) else {
            return;
        };
        let manifest = self.manifest.clone();
        self.averaging.spawn_blocking(move || match &*intake {
            Intake::Sum(sum) => {
                let (sum, averaged) = sum.finish(head)?;
                Some((sum.into(), averaged))
            }
            Intake::Spool(spool) => {
                let plan = manifest.fixed_point();
                let sum = spool.sum(plan.ring(), manifest.body_bytes(), &bodies);
                let sum = sum.unwrap_or_else(|error| {
                    // An empty sum is impossible, and the attempt is repeated.
                    error!(%error, "contributions cannot be read back");
                    Vec::new()
                });
                let inputs = bodies.iter().filter(|(_, body)| body.kind == BodyKind::Sum);
                let addends = manifest.addends(inputs.map(|(node, _)| node));
                let averaged = average(&sum, &model, plan, addends, head, ctx);
                Some((sum.into(), averaged))
            }
            Intake::Model(_) => None,
        });
    }

    /// Waits for an average, for ever if none is being computed. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The thread panicked, which would be a bug, not an input.
    pub(super) async fn averaged(&mut self) -> Result<Option<Average>, JoinError> {
        match self.averaging.join_next().await {
            Some(averaged) => averaged,
            None => std::future::pending().await,
        }
    }
}
