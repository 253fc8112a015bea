//! A state of the chain that enough nodes vouch for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cohort_minimum::check_cohort;
use super::head::Head;
use super::message::{ResultAck, Signed};
use super::refusal::Refusal;
use crate::digest::model_hash;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// A model that enough participants have acknowledged, for nodes that missed more than one result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the relay stands.
    pub head: Head,
    /// Acknowledgements of that very state.
    pub acks: Vec<Signed<ResultAck>>,
}

/// A checkpoint that `min_nodes` participants have signed.
#[derive(Clone, Debug)]
pub struct CheckedCheckpoint(Head);

impl Checkpoint {
    /// The acknowledgements that hold, by signer.
    pub(in crate::round) fn valid_acks(
        &self,
        manifest: &Manifest,
        unix_s: u64,
    ) -> BTreeMap<NodeId, Signed<ResultAck>> {
        let acks = self.acks.iter().filter_map(|signed| {
            let ack = signed.verify(manifest, unix_s).ok()?;
            let here = ack.consortium_id == manifest.consortium_id() && ack.head == self.head;
            here.then(|| (ack.node, signed.clone()))
        });
        acks.collect()
    }

    /// Checks the acknowledgements. Those that do not hold are not counted.
    ///
    /// # Errors
    ///
    /// [`Refusal::Checkpoint`] if fewer than `min_nodes` nodes of the manifest have signed this
    /// state, [`Refusal::Organisations`] if they are of too few organisations.
    pub fn verify(self, manifest: &Manifest, unix_s: u64) -> Result<CheckedCheckpoint, Refusal> {
        let acks = self.valid_acks(manifest, unix_s);
        check_cohort(manifest, acks.keys()).map_err(|refusal| match refusal {
            Refusal::TooFew { found, min_nodes } => Refusal::Checkpoint {
                round: self.head.round,
                valid: found,
                needed: min_nodes,
            },
            refusal => refusal,
        })?;
        Ok(CheckedCheckpoint(self.head))
    }
}

impl CheckedCheckpoint {
    /// Returns the state that was certified.
    pub fn head(&self) -> Head {
        self.0
    }

    /// Checks that `parameters` are the certified model.
    ///
    /// # Errors
    ///
    /// [`Refusal::Averaged`] if they hash to something else.
    pub fn check_model(&self, parameters: &[f32]) -> Result<(), Refusal> {
        let computed = model_hash(parameters);
        if computed != self.0.model {
            return Err(Refusal::Averaged {
                announced: self.0.model,
                computed,
            });
        }
        Ok(())
    }
}
