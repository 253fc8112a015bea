//! The kernels in WGSL: where their text is, and what a host must bind to run them.
//!
//! Each kernel is `wgsl/<name>.wgsl` behind the files of `wgsl/shared` that it needs, has one entry
//! point of its own name, and a twin of that name in [`cpu`](crate::cpu) that defines its result.
//! All bindings are in group 0.

use crate::uniform::{Decoding, Encoding, Shares, Span, Tagging};

/// Threads in a workgroup of every kernel.
pub const WORKGROUP_SIZE: u32 = 64;
/// Most workgroups in one dimension of a dispatch that every device allows.
pub const GRID_MAX: u32 = 65_535;
/// Name of the pipeline-overridable constant that is 1 for [`Ring::U64`](crate::Ring::U64) and 0
/// for [`Ring::U32`](crate::Ring::U32).
pub const WIDE: &str = "wide";

/// A compute kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Stem of its file, and name of its entry point.
    pub name: &'static str,
    /// WGSL of a complete module.
    pub source: &'static str,
    /// What is bound, by binding number.
    pub bindings: &'static [Binding],
}

/// What a kernel expects at one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A uniform buffer of so many bytes.
    Uniform {
        /// Size of the struct in WGSL.
        bytes: u64,
    },
    /// A storage buffer of 32-bit words that is only read.
    Read,
    /// A storage buffer of 32-bit words that is read and written.
    ReadWrite,
}

/// Bindings of the kernels that combine shares into a vector.
const SHARE_BINDINGS: &[Binding] = &[
    Binding::Uniform { bytes: Span::BYTES },
    Binding::Uniform {
        bytes: Shares::BYTES,
    },
    Binding::ReadWrite,
];

/// A module of the given shared files and kernel.
macro_rules! module {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!("../wgsl/", $file, ".wgsl"))),+)
    };
}

/// Encodes an update: [`Encoding`], the update as bits, the vector, and two words that count what
/// was met: the clipped coordinates, and the complement of the index of the first that is not
/// finite (0 if there is none). The host clears these words.
pub const QUANTIZE: Kernel = Kernel {
    name: "quantize",
    source: module!("shared/grid", "shared/chacha20", "shared/ring", "quantize"),
    bindings: &[
        Binding::Uniform {
            bytes: Encoding::BYTES,
        },
        Binding::Read,
        Binding::ReadWrite,
        Binding::ReadWrite,
    ],
};

/// Subtracts shares: [`Span`], [`Shares`], the vector in whole blocks.
pub const SPLIT: Kernel = Kernel {
    name: "split",
    source: module!(
        "shared/grid",
        "shared/chacha20",
        "shared/ring",
        "shared/shares",
        "split"
    ),
    bindings: SHARE_BINDINGS,
};

/// Adds shares: [`Span`], [`Shares`], the vector in whole blocks.
pub const SUM: Kernel = Kernel {
    name: "sum",
    source: module!(
        "shared/grid",
        "shared/chacha20",
        "shared/ring",
        "shared/shares",
        "sum"
    ),
    bindings: SHARE_BINDINGS,
};

/// Subtracts and adds shares: [`Span`], [`Shares`], the vector in whole blocks.
pub const MASK: Kernel = Kernel {
    name: "mask",
    source: module!(
        "shared/grid",
        "shared/chacha20",
        "shared/ring",
        "shared/shares",
        "mask"
    ),
    bindings: SHARE_BINDINGS,
};

/// Decodes a sum to a mean: [`Decoding`], the sum, the mean as bits.
pub const DEQUANTIZE: Kernel = Kernel {
    name: "dequantize",
    source: module!("shared/grid", "shared/ring", "dequantize"),
    bindings: &[
        Binding::Uniform {
            bytes: Decoding::BYTES,
        },
        Binding::Read,
        Binding::ReadWrite,
    ],
};

/// Makes the linear part of a tag, but for the coefficients of the blocks: [`Tagging`], the vector,
/// the coefficients of a block's elements as two numbers of two words each, and two such numbers
/// for each of [`Tagging::runs`], one workgroup a run.
pub const TAG: Kernel = Kernel {
    name: "tag",
    source: module!("shared/grid", "shared/ring", "tag"),
    bindings: &[
        Binding::Uniform {
            bytes: Tagging::BYTES,
        },
        Binding::Read,
        Binding::Read,
        Binding::ReadWrite,
    ],
};

/// Every kernel.
pub const ALL: [Kernel; 6] = [QUANTIZE, TAG, SPLIT, SUM, MASK, DEQUANTIZE];

/// Workgroups in x and y for at least `threads` threads. The kernels ignore those in excess.
pub const fn grid(threads: u32) -> [u32; 2] {
    let groups = threads.div_ceil(WORKGROUP_SIZE);
    let rows = groups.div_ceil(GRID_MAX);
    if rows == 0 {
        return [0, 0];
    }
    [groups.div_ceil(rows), rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_all_threads_with_few_in_excess() {
        assert_eq!(grid(0), [0, 0]);
        assert_eq!(grid(1), [1, 1]);
        let one_row = WORKGROUP_SIZE * GRID_MAX;
        assert_eq!(grid(one_row), [GRID_MAX, 1]);
        assert_eq!(grid(one_row + 1), [GRID_MAX.div_ceil(2), 2]);
        for threads in [65, 4_194_241, 99_999_999, u32::MAX - 1, u32::MAX] {
            let [x, y] = grid(threads);
            assert!(x <= GRID_MAX && y <= GRID_MAX);
            let covered = u64::from(x) * u64::from(y) * u64::from(WORKGROUP_SIZE);
            let excess = covered - u64::from(threads);
            assert!(excess < u64::from(WORKGROUP_SIZE) * u64::from(y + 1));
        }
    }
}
