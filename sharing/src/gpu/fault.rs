//! How the graphics library's failures become errors.
//!
//! wgpu reports refusals and want of memory through error scopes, a lost device through callbacks
//! of failed mappings, and panics where the device is lost while it waits. An operation therefore
//! runs inside [`guarded`], and waits with [`wait`]; then each of these is a [`DeviceError`], and
//! the process goes on.

use std::panic::{self, AssertUnwindSafe};

use wgpu::{ErrorFilter, PollType, SubmissionIndex};

use crate::engine::DeviceError;

/// Runs `operation` and collects what the device reports meanwhile on this thread. A report says
/// more than the operation's own error, which is only its consequence.
pub(super) fn guarded<T, E: From<DeviceError>>(
    device: &wgpu::Device,
    operation: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let validation = device.push_error_scope(ErrorFilter::Validation);
    let internal = device.push_error_scope(ErrorFilter::Internal);
    let memory = device.push_error_scope(ErrorFilter::OutOfMemory);
    let outcome = operation();
    let reports = [memory.pop(), internal.pop(), validation.pop()].map(pollster::block_on);
    match reports.into_iter().flatten().next() {
        Some(report) => Err(reported(report).into()),
        None => outcome,
    }
}

/// Waits until a submission has run and its mappings are there.
pub(super) fn wait(device: &wgpu::Device, submission: SubmissionIndex) -> Result<(), DeviceError> {
    let poll = PollType::Wait {
        submission_index: Some(submission),
        timeout: None,
    };
    match panic::catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(DeviceError::Lost),
    }
}

fn reported(report: wgpu::Error) -> DeviceError {
    match report {
        wgpu::Error::OutOfMemory { .. } => DeviceError::OutOfMemory,
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Refused {
                reason: description,
            }
        }
    }
}
