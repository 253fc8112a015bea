//! What of a program's memory others get to see: nothing, as far as the system lets it.
//!
//! A program that is killed while it trains has its data and its update in memory, and its keys at
//! all times.

use std::io;

use tracing::debug;

/// Keeps this process out of core dumps, and its memory from the other processes of its user. Only
/// root can still attach a debugger.
///
/// # Errors
///
/// What the operating system says, where it has such a thing.
pub fn hide() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};

        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none)?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Keeps a secret that stays where it is from being written to swap, if the user may lock that much
/// memory. It stays locked as long as the process lives: a page may hold another secret as well.
pub fn lock(secret: &[u8]) {
    #[cfg(unix)]
    {
        let place = secret.as_ptr().cast_mut().cast();
        #[expect(
            unsafe_code,
            reason = "the memory is there, and what is in it stays as it is"
        )]
        // SAFETY: the range is that of a live slice, which locking neither reads nor writes.
        let locked = unsafe { rustix::mm::mlock(place, secret.len()) };
        if let Err(error) = locked {
            debug!(%error, "a key cannot be kept out of swap");
        }
    }
    #[cfg(not(unix))]
    let _ = secret;
}
