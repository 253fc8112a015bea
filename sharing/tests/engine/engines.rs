//! The engines of this machine.

use std::fmt::Debug;
use std::sync::LazyLock;

use fl_shaders::Instructions;
use fl_sharing::{CpuEngine, Engine};

/// An engine that tells its name when a test fails.
pub(crate) trait Named: Engine + Debug {}

impl<E: Engine + Debug> Named for E {}

pub(crate) type TestEngine = dyn Named;

/// All of them: the CPU's, also with each set of instructions that it has, and with the feature
/// `gpu` the GPU's if there is one.
pub(crate) fn engines() -> impl Iterator<Item = &'static TestEngine> {
    static ENGINES: LazyLock<Vec<Box<TestEngine>>> = LazyLock::new(|| {
        let cpu: Box<TestEngine> = Box::new(CpuEngine);
        let sets = Instructions::available().map(|set| -> Box<TestEngine> { Box::new(set) });
        std::iter::once(cpu).chain(sets).chain(gpu()).collect()
    });
    ENGINES.iter().map(|engine| &**engine)
}

#[cfg(feature = "gpu")]
fn gpu() -> Option<Box<TestEngine>> {
    let open = crate::gpu::open()?;
    let engine = fl_sharing::GpuEngine::from_device(open.device, open.queue).unwrap();
    Some(Box::new(engine))
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Option<Box<TestEngine>> {
    None
}
