//! What a node does in an attempt with a committee, as a contributor and as a holder.

use std::time::Instant;

use fl_network::client::Link;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::round::Hindrance;
use fl_protocol::round::committee::{CheckedSlip, ClassSet, Envelope, Holders, RevealOrder};
use fl_protocol::round::node::Action;
use fl_protocol::wire::BodyId;
use fl_shaders::Tag;
use fl_sharing::DeviceError;

use super::{Driver, End};
use crate::node::job::Done;
use crate::node::masking::Masked;
use crate::node::{NodeError, NodeEvent};

impl<F: FnMut(NodeEvent)> Driver<F> {
    /// Masks the update beside the loop.
    pub(super) fn contribute(&mut self, holders: Holders) {
        let ctx = holders.ctx();
        self.mask(
            move |masking, spare| masking.contribute(&holders, spare),
            move |contribution, took| Done::Contributed {
                ctx,
                contribution,
                took,
            },
        );
    }

    /// Announces a contribution, once it is in the outbox.
    pub(super) async fn contributed(
        &mut self,
        link: &mut Link,
        ctx: Digest,
        Masked { body, hashes, tag }: Masked,
        envelope: Envelope,
    ) -> Result<Option<End>, NodeError> {
        let announcement = self
            .machine
            .contributed(ctx, hashes.root(), tag, envelope)?;
        self.announce(link, announcement, body, hashes).await
    }

    /// Opens a contributor's seeds.
    pub(super) fn open(&mut self, slip: &CheckedSlip) -> Result<Vec<Action>, NodeError> {
        let Some(holding) = &mut self.holding else {
            return Ok(Vec::new());
        };
        let found = holding.open(self.own, slip);
        Ok(self.machine.opened(slip.ctx(), slip.entry(), found)?)
    }

    /// Sums up masks beside the loop. That goes on over a lost connection, like the attempt.
    pub(super) fn reveal(&mut self, order: &RevealOrder) {
        let (ctx, classes) = (order.ctx(), order.classes());
        let masks = self
            .holding
            .as_ref()
            .and_then(|holding| holding.masks(order));
        let Some(masks) = masks else {
            self.machine.not_revealed(ctx, classes);
            return;
        };
        let (engine, manifest) = (self.engine.clone(), self.kit.manifest.clone());
        self.local.spawn_blocking(move || {
            let (begun, tag) = (Instant::now(), masks.tag);
            let sum = masks.sum(&*engine, &manifest);
            let sum = sum.map(|sum| (ChunkHashes::of(&sum), sum));
            Done::Revealed {
                ctx,
                classes,
                sum,
                tag,
                took: begun.elapsed(),
            }
        });
    }

    /// Announces a sum of masks, and keeps it for as long as the attempt lasts.
    pub(super) async fn revealed(
        &mut self,
        link: &mut Link,
        (ctx, classes): (Digest, ClassSet),
        (hashes, sum): (ChunkHashes, Vec<u8>),
        tag: Tag,
    ) -> Result<Option<End>, NodeError> {
        let root = hashes.root();
        let actions = self.machine.revealed(ctx, classes, root, tag)?;
        if let Some(holding) = self.holding.as_mut().filter(|_| !actions.is_empty()) {
            holding.reveals.insert(root, (sum.into(), hashes));
        }
        self.perform(link, actions).await
    }

    /// The engine cannot sum up masks. If they are still wanted, the relay may ask again, or another holder.
    pub(super) async fn not_revealed(
        &mut self,
        link: &mut Link,
        (ctx, classes): (Digest, ClassSet),
        error: DeviceError,
    ) -> Result<Option<End>, NodeError> {
        match self.machine.not_revealed(ctx, classes) {
            true => {
                self.failed(link, Hindrance::Computation, error.into())
                    .await
            }
            false => self.show(error.into()).map(|()| None),
        }
    }

    /// Uploads a sum of masks.
    pub(super) fn upload_reveal(&mut self, link: &Link, body: BodyId, first_chunk: u32) {
        let root = body.subject;
        let reveals = self.holding.as_ref().map(|holding| &holding.reveals);
        let Some((bytes, hashes)) = reveals.and_then(|reveals| reveals.get(&root)).cloned() else {
            return;
        };
        let bodies = link.bodies();
        let upload = self.linked.spawn(async move {
            // A failed upload shows on the connection as well, and the relay asks again.
            let _ = bodies.upload(body, first_chunk, &hashes, bytes).await;
            Done::Uploaded
        });
        if let Some(former) = self.reveal_uploads.insert(root, upload) {
            former.abort();
        }
    }
}
