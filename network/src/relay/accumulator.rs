//! The running sum of one attempt: bodies are checked and added chunk by chunk as they arrive.
//!
//! However many nodes upload at the same time, there is one sum and one average. A chunk of which
//! all bodies are there is averaged at once, behind the back of those that follow; nobody learns of
//! it before all chunks are complete.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes, Digest, chunk_hash};
use fl_protocol::identity::NodeId;
use fl_protocol::ring_bytes;
use fl_protocol::round::training::{Averaged, Averaging};
use fl_protocol::round::{Head, Refusal};
use fl_shaders::{Addends, FixedPoint, Ring};

use super::arrivals::{Arrivals, BodyError};

/// The sum so far, and how far each node's body has been added.
#[derive(Debug)]
pub(super) struct Accumulator {
    ctx: Digest,
    ring: Ring,
    /// Number of bodies that make the sum complete.
    nodes: usize,
    state: Mutex<RunningSum>,
    /// `None` once it was taken out.
    average: Mutex<Option<RunningAverage>>,
}

#[derive(Debug)]
struct RunningSum {
    sum: Vec<u8>,
    added: Arrivals<NodeId>,
}

/// The average of the chunks that are complete.
#[derive(Debug)]
struct RunningAverage {
    averaging: Averaging<Arc<Vec<f32>>>,
    /// Chunks that are in it.
    chunks: usize,
    /// The one that is being averaged.
    chunk: Vec<u8>,
}

impl Accumulator {
    /// Returns a sum of the bodies of these participants, to be averaged onto `model`. It takes
    /// the place of `zeros`, of which there are as many as a body has, and the average that of
    /// `spare`.
    pub(super) fn new(
        ctx: Digest,
        plan: &FixedPoint,
        zeros: Vec<u8>,
        addends: Addends,
        model: Arc<Vec<f32>>,
        spare: Vec<f32>,
    ) -> Self {
        let average = RunningAverage {
            averaging: Averaging::new(plan, model, addends, spare),
            chunks: 0,
            chunk: Vec::with_capacity(CHUNK_BYTES.min(zeros.len())),
        };
        let state = RunningSum {
            added: Arrivals::new(zeros.len()),
            sum: zeros,
        };
        Self {
            ctx,
            ring: plan.ring(),
            nodes: addends.nodes as usize,
            state: Mutex::new(state),
            average: Mutex::new(Some(average)),
        }
    }

    pub(super) fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Expects a body with this root of `node`. Returns the first chunk that is missing.
    pub(super) fn expect(&self, node: NodeId, root: Digest) -> usize {
        self.lock().added.expect(node, root)
    }

    /// Checks the list of chunk hashes of a body that is to go on at chunk `first`.
    pub(super) fn begin(
        &self,
        node: NodeId,
        first: usize,
        hashes: &ChunkHashes,
    ) -> Result<(), BodyError> {
        self.lock().added.begin(node, first, hashes)
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        self.lock().added.chunk_len(index)
    }

    /// Returns the number of chunks of a body.
    pub(super) fn chunks(&self) -> usize {
        self.lock().added.chunks()
    }

    /// Checks chunk `index` of `node`'s body against `hash`, and adds it. Averages what is complete
    /// with it, unless another thread is at it.
    pub(super) fn add(
        &self,
        node: NodeId,
        index: usize,
        hash: &Digest,
        chunk: &[u8],
    ) -> Result<(), BodyError> {
        if chunk_hash(chunk) != *hash {
            return Err(BodyError::Chunk(index));
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let added = state.added.next(node, index)?;
        let start = index * CHUNK_BYTES;
        let target = state
            .sum
            .get_mut(start..start + chunk.len())
            .ok_or(BodyError::Unasked)?;
        ring_bytes::add(self.ring, target, chunk);
        *added += 1;
        drop(guard);
        if let Ok(mut average) = self.average.try_lock()
            && let Some(average) = &mut *average
        {
            self.average_complete(average);
        }
        Ok(())
    }

    /// Averages the chunks of which all bodies are there.
    fn average_complete(&self, average: &mut RunningAverage) {
        loop {
            {
                let state = self.lock();
                if average.chunks >= state.added.complete(self.nodes) {
                    return;
                }
                // Copied, so that uploads do not wait for the average.
                let start = average.chunks * CHUNK_BYTES;
                let end = (start + CHUNK_BYTES).min(state.sum.len());
                average.chunk.clear();
                average.chunk.extend_from_slice(&state.sum[start..end]);
            }
            average.averaging.add(&average.chunk);
            average.chunks += 1;
        }
    }

    /// Takes out the sum, and its average onto the model of `head`. Returns nothing if that was
    /// done before.
    pub(super) fn finish(&self, head: Head) -> Option<(Vec<u8>, Result<Averaged, Refusal>)> {
        let mut average = self.average.lock().unwrap_or_else(PoisonError::into_inner);
        let mut average = average.take()?;
        self.average_complete(&mut average);
        let sum = std::mem::take(&mut self.lock().sum);
        Some((sum, average.averaging.finish(head, self.ctx)))
    }

    fn lock(&self) -> MutexGuard<'_, RunningSum> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fl_shaders::{Counters, Parameters};

    use super::*;
    use fl_protocol::round::training::average;

    const CTX: Digest = Digest([7; 32]);
    /// So many that the second chunk is a short one.
    const PARAMETERS: usize = CHUNK_BYTES / 4;
    /// Without tallies, the header has two words.
    const BYTES: usize = 4 * (2 + PARAMETERS);

    fn plan() -> FixedPoint {
        let plan = FixedPoint::new(Parameters {
            ring: Ring::U32,
            clip: 1.0,
            fraction_bits: 23,
            nodes_max: 128,
            examples_max: 1000,
            tallies: 0,
        });
        plan.unwrap()
    }

    fn head() -> Head {
        Head {
            round: 3,
            previous: Digest([1; 32]),
            model: Digest([2; 32]),
        }
    }

    fn model() -> Arc<Vec<f32>> {
        Arc::new((0..PARAMETERS).map(|k| k as f32).collect())
    }

    fn addends(nodes: usize) -> Addends {
        Addends {
            nodes: u32::try_from(nodes).unwrap(),
            examples_max: 1000 * nodes as u64,
        }
    }

    fn accumulator(nodes: usize) -> Accumulator {
        let addends = addends(nodes);
        Accumulator::new(CTX, &plan(), vec![0; BYTES], addends, model(), Vec::new())
    }

    fn node() -> NodeId {
        crate::pki::generate_identity().unwrap().node_id()
    }

    /// Returns an input that no mask hides.
    fn body(salt: u32) -> Vec<u8> {
        let counters = Counters {
            examples: 100,
            ..Counters::default()
        };
        let header = counters.to_header::<u32>(&plan());
        let coordinates = (0..PARAMETERS).map(|k| (k as u64 * 31 + u64::from(salt)) % 1000);
        let words = header.into_iter().map(u64::from).chain(coordinates);
        words
            .flat_map(|word| word.to_le_bytes()[..4].to_vec())
            .collect()
    }

    fn chunks(body: &[u8]) -> [&[u8]; 2] {
        let (first, last) = body.split_at(CHUNK_BYTES);
        [first, last]
    }

    #[test]
    fn bodies_add_up_chunk_by_chunk_and_go_on_where_they_stopped() {
        let sum = accumulator(2);
        let bodies = [body(1), body(2)];
        for body in &bodies {
            let hashes = ChunkHashes::of(body);
            let (node, chunks) = (node(), chunks(body));
            assert_eq!(sum.expect(node, hashes.root()), 0);
            sum.begin(node, 0, &hashes).unwrap();
            assert_eq!(sum.chunk_len(0), CHUNK_BYTES);
            sum.add(node, 0, &hashes.as_slice()[0], chunks[0]).unwrap();
            assert_eq!(sum.expect(node, hashes.root()), 1, "an interruption");
            assert_eq!(sum.begin(node, 0, &hashes), Err(BodyError::Unasked));
            sum.begin(node, 1, &hashes).unwrap();
            assert_eq!(sum.chunk_len(1), chunks[1].len());
            sum.add(node, 1, &hashes.as_slice()[1], chunks[1]).unwrap();
        }
        let [mut expected, second] = bodies;
        ring_bytes::add(Ring::U32, &mut expected, &second);
        let (sum, averaged) = sum.finish(head()).unwrap();
        assert_eq!(sum, expected);
        let whole = average(&expected, &model(), &plan(), addends(2), head(), CTX).unwrap();
        let averaged = averaged.unwrap();
        assert_eq!(averaged.head, whole.head);
        assert_eq!(averaged.model, whole.model);
        assert_ne!(averaged.model, model());
    }

    #[test]
    fn whatever_the_order_of_the_chunks_the_average_is_that_of_the_whole() {
        let bodies = [body(1), body(2), body(3)];
        let hashes = bodies.each_ref().map(|body| ChunkHashes::of(body));
        let averaged = |order: &[(usize, usize)], nodes: usize| {
            let sum = accumulator(nodes);
            let ids = [node(), node(), node()];
            for (id, hashes) in ids.iter().zip(&hashes) {
                sum.expect(*id, hashes.root());
            }
            for (body, chunk) in order {
                let bytes = chunks(&bodies[*body])[*chunk];
                let hash = &hashes[*body].as_slice()[*chunk];
                sum.add(ids[*body], *chunk, hash, bytes).unwrap();
            }
            sum.finish(head()).unwrap().1
        };
        let [a, b] = [
            [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)],
            [(2, 0), (1, 0), (0, 0), (1, 1), (2, 1), (0, 1)],
        ]
        .map(|order| averaged(&order, 3).unwrap().head);
        assert_eq!(a, b);
        // The control: without its last chunk there is no average.
        assert!(averaged(&[(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)], 3).is_err());
    }

    #[test]
    fn other_bytes_than_signed_are_never_added() {
        let sum = accumulator(1);
        let (body, other) = (body(1), body(2));
        let (hashes, others) = (ChunkHashes::of(&body), ChunkHashes::of(&other));
        let node = node();
        sum.expect(node, hashes.root());
        assert_eq!(sum.begin(node, 0, &others), Err(BodyError::Root));
        let (right, wrong) = (chunks(&body), chunks(&other));
        let add = |node, index, hash: usize, chunk: &[u8]| {
            sum.add(node, index, &hashes.as_slice()[hash], chunk)
        };
        assert_eq!(add(node, 0, 0, wrong[0]), Err(BodyError::Chunk(0)));
        assert_eq!(add(node, 1, 1, right[1]), Err(BodyError::Unasked));
        let stranger = self::node();
        assert_eq!(add(stranger, 0, 0, right[0]), Err(BodyError::Unasked));
        add(node, 0, 0, right[0]).unwrap();
        let again = add(node, 0, 0, right[0]);
        assert_eq!(again, Err(BodyError::Unasked), "never twice");
        add(node, 1, 1, right[1]).unwrap();
        assert_eq!(sum.finish(head()).unwrap().0, body);
        assert!(sum.finish(head()).is_none(), "taken out once");
    }
}
