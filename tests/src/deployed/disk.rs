//! A file system with hardly any room.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file system in memory that is mounted on a folder. It is unmounted when dropped, and all in it
/// is gone.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one with room for so many KiB on `folder`, which is made if need be. Who may not
    /// mount gets nothing, and a loud word about it.
    ///
    /// # Panics
    ///
    /// If it cannot be mounted where `CI` is set: there nothing may be left untested.
    pub fn mount(folder: &Path, kib: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700")]);
        let mounted = command.arg("tmpfs").arg(folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            failed => {
                let reason = failed.map(|output| said(&output));
                assert!(
                    std::env::var_os("CI").is_none(),
                    "no small disk: {reason:?}"
                );
                eprintln!("SKIPPED, NO RIGHT TO MOUNT: {reason:?}");
                None
            }
        }
    }

    /// Returns it room for so many KiB in all.
    ///
    /// # Panics
    ///
    /// If it refuses, because there is more on it already for instance.
    pub fn resize(&self, kib: u32) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,size={kib}k")]);
        let output = command.arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves behind may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
