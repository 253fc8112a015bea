//! Memory that will be needed soon, asked for while there is other work.

const LINE_BYTES: usize = 64;

/// What the next piece reads and writes.
///
/// Processors guess it from what was read and written before, but not far, and not beyond a page of
/// memory.
#[derive(Clone, Copy, Default)]
pub(super) struct Upcoming<'a> {
    update: &'a [f32],
    piece: &'a [u8],
    /// Lines of each to ask for at a time. More than a few, and the processor would wait for them.
    lines: usize,
}

impl<'a> Upcoming<'a> {
    pub(super) fn new(update: &'a [f32], piece: &'a [u8]) -> Self {
        Self {
            update,
            piece,
            lines: 0,
        }
    }

    /// To be asked for in so many steps.
    pub(super) fn in_steps(self, steps: usize) -> Self {
        let bytes = size_of_val(self.update).max(self.piece.len());
        let lines = bytes.div_ceil(LINE_BYTES).div_ceil(steps.max(1));
        Self { lines, ..self }
    }

    /// Asks for what comes next.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        self.update = ask(self.update, self.lines);
        self.piece = ask(self.piece, self.lines);
    }
}

/// Asks for the first lines of `memory`, and gives the rest.
#[inline(always)]
fn ask<T>(memory: &[T], lines: usize) -> &[T] {
    let line = LINE_BYTES / size_of::<T>();
    let (now, later) = memory.split_at(memory.len().min(lines * line));
    for line in now.chunks(line) {
        prefetch(line);
    }
    later
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(unsafe_code, reason = "takes a pointer")]
fn prefetch<T>(line: &[T]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: asking reads and writes nothing, and every CPU of the architecture can.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
}

/// Not in the standard library for others.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch<T>(_line: &[T]) {}
