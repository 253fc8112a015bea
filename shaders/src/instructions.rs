//! Sets of SIMD instructions. Loops are written plainly, compiled once for each set, and chosen at
//! run time.

/// A set of instructions that this CPU has.
///
/// A value is the proof that this CPU has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Those that every CPU of the architecture has.
    Baseline,
}

/// Work to be compiled for a set of instructions.
///
/// Implementations are `#[inline(always)]`, and so is all that they call in a loop, or it would be
/// compiled for the baseline.
pub trait Work {
    /// The result.
    type Output;

    /// Runs the work.
    fn work(self) -> Self::Output;
}

impl Instructions {
    /// All sets that this CPU has, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Set::Avx512,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2,
            Set::Baseline,
        ]
        .into_iter()
        .filter(|set| set.is_available())
        .map(Self)
    }

    /// The best set that this CPU has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self(Set::Baseline))
    }

    /// Returns whether they are those of AVX-512 (F, VL and DQ), for code that is written with
    /// intrinsics.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn has_avx512(self) -> bool {
        self.0 == Set::Avx512
    }

    /// Does `work` with these instructions.
    pub fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls functions that not every CPU can run")]
            // SAFETY: `available` alone makes values of this type, once the CPU was found to have
            // what they name.
            Set::Avx512 => unsafe { avx512(work) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls functions that not every CPU can run")]
            // SAFETY: as above.
            Set::Avx2 => unsafe { avx2(work) },
            Set::Baseline => work.work(),
        }
    }
}

impl Set {
    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Baseline => true,
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn avx512<W: Work>(work: W) -> W::Output {
    work.work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<W: Work>(work: W) -> W::Output {
    work.work()
}
