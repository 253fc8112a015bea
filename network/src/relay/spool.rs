//! Bodies on disk until it is known which of them are added up. They are masked, so this tells a
//! reader nothing.
//!
//! Adding a body on arrival, and taking it out again if its contributor is not chosen, would need
//! its bytes a second time, from a contributor that may be gone. So they are kept, a file each, and
//! the relay needs memory for one sum and a chunk for each upload, however many contribute.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes, Digest, chunk_hash};
use fl_protocol::ring_bytes;
use fl_protocol::wire::BodyKind;
use fl_shaders::Ring;
use tracing::{error, warn};

use super::arrivals::{Arrivals, BodyError};
use super::intake::BodySource;
use crate::files::create_private;

/// The bodies of one attempt. Their files go with it.
#[derive(Debug)]
pub(super) struct Spool {
    ctx: Digest,
    folder: PathBuf,
    state: Mutex<SpooledBodies>,
}

#[derive(Debug)]
struct SpooledBodies {
    written: Arrivals<BodySource>,
    /// Files of bodies that have begun and are not complete; `None` while a chunk is being written.
    files: BTreeMap<BodySource, Option<File>>,
}

impl Spool {
    /// Returns an empty spool in `folder` for bodies of `bytes` bytes.
    pub(super) fn new(ctx: Digest, folder: PathBuf, bytes: usize) -> Self {
        Self {
            ctx,
            folder,
            state: Mutex::new(SpooledBodies {
                written: Arrivals::new(bytes),
                files: BTreeMap::new(),
            }),
        }
    }

    pub(super) fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Expects a body with this root. Returns the first chunk that is missing.
    pub(super) fn expect(&self, source: BodySource, root: Digest) -> usize {
        self.lock().written.expect(source, root)
    }

    /// Checks the list of chunk hashes of a body that is to go on at chunk `first`.
    pub(super) fn begin(
        &self,
        source: BodySource,
        first: usize,
        hashes: &ChunkHashes,
    ) -> Result<(), BodyError> {
        self.lock().written.begin(source, first, hashes)
    }

    /// Length of chunk `index` in bytes.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        self.lock().written.chunk_len(index)
    }

    /// Returns the number of chunks of a body.
    pub(super) fn chunks(&self) -> usize {
        self.lock().written.chunks()
    }

    /// Checks chunk `index` of a body against `hash`, and writes it.
    pub(super) fn add(
        &self,
        source: BodySource,
        index: usize,
        hash: &Digest,
        chunk: &[u8],
    ) -> Result<(), BodyError> {
        if chunk_hash(chunk) != *hash {
            return Err(BodyError::Chunk(index));
        }
        // The file is taken out for the time of the write, so that uploads do not wait for each
        // other.
        let file = {
            let mut state = self.lock();
            state.written.next(source, index)?;
            match state.files.get_mut(&source) {
                Some(file) => Some(file.take().ok_or(BodyError::Unasked)?),
                None if index > 0 => return Err(BodyError::Unasked),
                None => {
                    state.files.insert(source, None);
                    None
                }
            }
        };
        let begin = || create_private(&self.folder.join(file_name(source)));
        let file = file.map_or_else(begin, Ok);
        let written = file.and_then(|mut file| file.write_all(chunk).map(|()| file));
        let mut guard = self.lock();
        let state = &mut *guard;
        let here = state.written.next(source, index)?;
        match written {
            Ok(file) => {
                *here += 1;
                let whole = *here == state.written.chunks();
                // The last chunk closes it: there may be more bodies than a process may have files.
                match whole {
                    true => state.files.remove(&source),
                    false => state.files.insert(source, Some(file)),
                };
                Ok(())
            }
            Err(error) => {
                // A part of the chunk may be in the file: the body begins again, when there is
                // room.
                *here = 0;
                state.files.remove(&source);
                error!(%error, "a contribution or a sum of masks cannot be kept");
                Err(BodyError::Disk)
            }
        }
    }

    /// The sum of these bodies.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(super) fn sum(
        &self,
        ring: Ring,
        bytes: usize,
        sources: &[BodySource],
    ) -> io::Result<Vec<u8>> {
        let mut sum = vec![0; bytes];
        let mut chunk = vec![0; CHUNK_BYTES];
        for source in sources {
            let mut file = File::open(self.folder.join(file_name(*source)))?;
            for target in sum.chunks_mut(CHUNK_BYTES) {
                let chunk = &mut chunk[..target.len()];
                file.read_exact(chunk)?;
                ring_bytes::add(ring, target, chunk);
            }
        }
        Ok(sum)
    }

    fn lock(&self) -> MutexGuard<'_, SpooledBodies> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_name((node, body): BodySource) -> String {
    let node = node.0.to_hex();
    match body.kind {
        BodyKind::Reveal => format!("reveal-{node}-{}", body.subject.to_hex()),
        BodyKind::Sum | BodyKind::Result | BodyKind::Model => format!("input-{node}"),
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        for source in self.lock().written.keys() {
            let path = self.folder.join(file_name(source));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(%error, "{} is left behind", path.display());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::generate_identity;
    use fl_protocol::wire::BodyId;

    const CTX: Digest = Digest([0; 32]);

    #[test]
    fn bodies_are_kept_apart_go_on_where_they_stopped_and_add_up_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = CHUNK_BYTES + 8;
        let spool = Spool::new(CTX, folder.path().to_owned(), bytes);
        let sources: Vec<_> = (1..=3u8)
            .map(|value| {
                let body = vec![value; bytes];
                let hashes = ChunkHashes::of(&body);
                let node = generate_identity().unwrap().node_id();
                let body_id = match value {
                    3 => BodyId::reveal(hashes.root()),
                    _ => BodyId::sum(CTX),
                };
                let source = (node, body_id);
                assert_eq!(spool.begin(source, 0, &hashes), Err(BodyError::Unasked));
                assert_eq!(spool.expect(source, hashes.root()), 0);
                spool.begin(source, 0, &hashes).unwrap();
                let add = |index: usize, chunk: &[u8]| {
                    spool.add(source, index, &hashes.as_slice()[index], chunk)
                };
                assert_eq!(add(0, &body[1..]), Err(BodyError::Chunk(0)));
                add(0, &body[..CHUNK_BYTES]).unwrap();
                assert_eq!(
                    add(0, &body[..CHUNK_BYTES]),
                    Err(BodyError::Unasked),
                    "never twice"
                );
                assert_eq!(spool.expect(source, hashes.root()), 1, "an interruption");
                assert_eq!(
                    spool.begin(source, 1, &ChunkHashes::of(&[])),
                    Err(BodyError::Root)
                );
                spool.begin(source, 1, &hashes).unwrap();
                assert_eq!(spool.chunk_len(1), 8);
                add(1, &body[CHUNK_BYTES..]).unwrap();
                source
            })
            .collect();
        let sum = |sources: &[BodySource]| spool.sum(Ring::U32, bytes, sources).unwrap();
        assert!(sum(&sources).iter().all(|byte| *byte == 6));
        assert!(
            sum(&sources[1..]).iter().all(|byte| *byte == 5),
            "only those that are chosen"
        );
        drop(spool);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_holder_that_announces_anothers_reveal_does_not_touch_its_body() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = CHUNK_BYTES + 8;
        let spool = Spool::new(CTX, folder.path().to_owned(), bytes);
        let body = vec![7; bytes];
        let hashes = ChunkHashes::of(&body);
        let source = || {
            let node = generate_identity().unwrap().node_id();
            let source = (node, BodyId::reveal(hashes.root()));
            assert_eq!(spool.expect(source, hashes.root()), 0);
            source
        };
        let (honest, thief) = (source(), source());
        for (source, chunks) in [(honest, 2), (thief, 1)] {
            for (index, chunk) in body.chunks(CHUNK_BYTES).enumerate().take(chunks) {
                let hash = &hashes.as_slice()[index];
                spool.add(source, index, hash, chunk).unwrap();
            }
        }
        assert_eq!(spool.sum(Ring::U32, bytes, &[honest]).unwrap(), body);
        // The control.
        assert!(spool.sum(Ring::U32, bytes, &[thief]).is_err());
    }

    #[test]
    fn a_body_for_which_there_is_no_room_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = CHUNK_BYTES + 8;
        let spool = Spool::new(CTX, folder.path().to_owned(), bytes);
        let body = vec![7; bytes];
        let hashes = ChunkHashes::of(&body);
        let source = (generate_identity().unwrap().node_id(), BodyId::sum(CTX));
        let add = |index: usize| {
            let chunk = body.chunks(CHUNK_BYTES).nth(index).unwrap();
            spool.add(source, index, &hashes.as_slice()[index], chunk)
        };
        spool.expect(source, hashes.root());
        add(0).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        spool.lock().files.insert(source, Some(full));
        assert_eq!(add(1), Err(BodyError::Disk));

        assert_eq!(spool.expect(source, hashes.root()), 0);
        spool.begin(source, 0, &hashes).unwrap();
        add(0).unwrap();
        add(1).unwrap();
        assert_eq!(spool.sum(Ring::U32, bytes, &[source]).unwrap(), body);
    }
}
