//! `fl-node devices`, and the device that `--gpu` asks for.

use fl_trainer::Compute;

use super::args::GpuChoice;

/// Opens the GPU that was asked for, if one was. `note` is told what the user should know of it.
#[cfg(feature = "gpu")]
pub(crate) fn open(gpu: Option<GpuChoice>, note: impl Fn(&str)) -> anyhow::Result<Compute> {
    use fl_sharing::gpu::Selector;

    let selector = match gpu {
        None => return Ok(fl_trainer::cpu().into()),
        Some(GpuChoice::Fastest) => Selector::Fastest,
        Some(GpuChoice::Named(name)) => Selector::Named(name),
    };
    let gpu = fl_trainer::Gpu::open(&selector)?;
    let name = &gpu.adapter().name;
    note(&match gpu.adapter().is_software() {
        true => format!("on {name}, which is software: slower than without --gpu"),
        false => format!("on {name}"),
    });
    Ok(gpu.into())
}

/// Lists the adapters.
#[cfg(feature = "gpu")]
pub(crate) fn run() -> anyhow::Result<()> {
    use fl_network::program::logging::say;
    use fl_sharing::gpu::{AdapterError, Selector, adapters, choose};

    let adapters = adapters();
    for adapter in &adapters {
        say(adapter);
    }
    match choose(&adapters, &Selector::Fastest) {
        Ok(taken) => say(format_args!("\n--gpu takes {}", taken.name)),
        Err(AdapterError::OnlySoftware { names }) => say(format_args!(
            "\n--gpu takes none of them: there is only software; --gpu {} takes it all the same",
            names[0]
        )),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(not(feature = "gpu"))]
pub(crate) fn open(gpu: Option<GpuChoice>, _: impl Fn(&str)) -> anyhow::Result<Compute> {
    match gpu {
        None => Ok(fl_trainer::cpu().into()),
        Some(_) => run().map(|()| fl_trainer::cpu().into()),
    }
}

#[cfg(not(feature = "gpu"))]
pub(crate) fn run() -> anyhow::Result<()> {
    anyhow::bail!(
        "this build of fl-node has no GPU support; build it without --no-default-features"
    )
}
