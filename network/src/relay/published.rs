//! What the relay has published: the global model, and the last result, which led to it.

use std::sync::Arc;

use bytes::Bytes;
use fl_protocol::parameters::to_le_bytes;

/// The global model and the last result, in memory.
pub(super) struct PublishedModel {
    model: Arc<Vec<f32>>,
    /// Bytes of the model, once a node has asked for them.
    model_bytes: Option<Bytes>,
    /// The model before it, in case it comes to be that again. Once it cannot, the next one may be
    /// made in its memory.
    former: Option<Arc<Vec<f32>>>,
    /// Bytes of the last result; none where they are not in memory.
    result: Bytes,
}

impl PublishedModel {
    /// Has a model, the one before it if the last result may be taken back, and the bytes of that.
    pub(super) fn new(model: Arc<Vec<f32>>, former: Option<Arc<Vec<f32>>>, result: Bytes) -> Self {
        Self {
            model,
            model_bytes: None,
            former,
            result,
        }
    }

    /// Returns the global model.
    pub(super) fn model(&self) -> Arc<Vec<f32>> {
        self.model.clone()
    }

    /// Returns the bytes of the global model.
    pub(super) fn model_bytes(&mut self) -> Bytes {
        let bytes = self
            .model_bytes
            .get_or_insert_with(|| to_le_bytes(&self.model).into());
        bytes.clone()
    }

    /// Returns the bytes of the last result, if they are in memory.
    pub(super) fn result(&self) -> Option<Bytes> {
        (!self.result.is_empty()).then(|| self.result.clone())
    }

    /// Takes the bytes of the last result, which were read back.
    pub(super) fn restore_result(&mut self, result: Bytes) {
        self.result = result;
    }

    /// Goes on to the model that a new result leads to.
    pub(super) fn publish(&mut self, result: Bytes, model: Arc<Vec<f32>>) {
        self.result = result;
        self.former = Some(std::mem::replace(&mut self.model, model));
        self.model_bytes = None;
    }

    /// Goes on to a model that no result at hand leads to.
    pub(super) fn adopt(&mut self, model: Arc<Vec<f32>>) {
        *self = Self::new(model, None, Bytes::new());
    }

    /// Returns whether there is a model to go back to.
    pub(super) fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// Goes back to the model before the last result.
    pub(super) fn roll_back(&mut self) {
        if let Some(former) = self.former.take() {
            self.adopt(former);
        }
    }

    /// Forgets the model before the last result, to which there is no way back.
    pub(super) fn forget_former(&mut self) {
        self.former = None;
    }

    /// Forgets the last result, which nobody who lacks it is waited for.
    pub(super) fn forget_result(&mut self) {
        self.result = Bytes::new();
        self.model_bytes = None;
    }

    /// Takes the memory of the last result, for the next sum. A download that has not ended keeps
    /// it.
    pub(super) fn take_result_memory(&mut self) -> Vec<u8> {
        let result = std::mem::take(&mut self.result).try_into_mut();
        result.map(Vec::from).unwrap_or_default()
    }

    /// Takes the memory of the model before the last result, for the next model.
    pub(super) fn take_former_memory(&mut self) -> Vec<f32> {
        let former = self.former.take().map(Arc::try_unwrap);
        former.and_then(Result::ok).unwrap_or_default()
    }
}
