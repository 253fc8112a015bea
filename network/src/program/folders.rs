//! Where the programs keep what they remember, unless told otherwise.
//!
//! A kit is copied, replaced and handed on; what a party remembers is not. So the two never share a
//! folder.

use std::env;
use std::path::{Path, PathBuf};

use crate::kit::Kit;

/// Digits of a consortium's id in the name of a state folder.
const ID_DIGITS: usize = 16;

/// A folder that cannot be used for what a party remembers.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The user has no home.
    #[error("this user has no home folder to keep what is remembered; name one with {0} DIR")]
    NoHome(&'static str),
    /// It is within the kit, or the kit within it.
    #[error(
        "{folder} and the kit in {kit} lie in one another: whoever copies or replaces the kit would copy or \
         replace what is remembered; name another folder with {flag} DIR"
    )]
    WithKit {
        /// The folder.
        folder: PathBuf,
        /// The kit's.
        kit: PathBuf,
        /// The flag that names the folder.
        flag: &'static str,
    },
}

/// Returns the folder for the state of the party whose kit lies in `folder`: the one that its
/// operator has `named`, or else `NAME-ID` in the user's folder for state.
///
/// # Errors
///
/// [`FolderError`].
pub fn state(named: Option<PathBuf>, kit: &Kit, folder: &Path) -> Result<PathBuf, FolderError> {
    let name = match kit.manifest.member(kit.id()) {
        Ok(member) => member.name.as_str(),
        Err(_) => "relay",
    };
    let id = kit.manifest.consortium_id().to_hex();
    let party = format!("{name}-{}", &id[..ID_DIGITS]);
    choose("--state", named, &party, folder)
}

/// Returns the folder for the record of sums that an organisation has given: the one that its
/// operator has `named`, or else `record` in the user's folder for state. The node's kit lies in
/// `folder`.
///
/// # Errors
///
/// [`FolderError`].
pub fn record(named: Option<PathBuf>, folder: &Path) -> Result<PathBuf, FolderError> {
    choose("--record", named, "record", folder)
}

fn choose(
    flag: &'static str,
    named: Option<PathBuf>,
    name: &str,
    kit: &Path,
) -> Result<PathBuf, FolderError> {
    let folder = named.or_else(|| Some(home()?.join("smpc-fl").join(name)));
    let folder = folder.ok_or(FolderError::NoHome(flag))?;
    let (real, kits) = (resolved(&folder), resolved(kit));
    match real.starts_with(&kits) || kits.starts_with(&real) {
        true => Err(FolderError::WithKit {
            folder,
            kit: kit.to_owned(),
            flag,
        }),
        false => Ok(folder),
    }
}

/// Returns the user's folder for state, by the XDG Base Directory Specification: `$XDG_STATE_HOME`
/// if it is an absolute path, or else `~/.local/state`.
fn home() -> Option<PathBuf> {
    let named = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let named = named.filter(|path| path.is_absolute());
    named.or_else(|| {
        let home = env::home_dir().filter(|home| home.is_absolute());
        home.map(|home| home.join(".local/state"))
    })
}

/// Returns where a path leads, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.ancestors().find_map(|there| {
        let rest = absolute.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(rest))
    });
    real.unwrap_or(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_and_a_kit_do_not_lie_in_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let kit = folder.path().join("kits/a");
        std::fs::create_dir_all(&kit).unwrap();
        let chosen = |name: &str| record(Some(folder.path().join(name)), &kit);
        for within in ["kits/a", "kits/a/state", "kits", "kits/../kits/a/x/y", ""] {
            let found = chosen(within);
            let refused = matches!(found, Err(FolderError::WithKit { .. }));
            assert!(refused, "{within}");
        }
        for beside in ["kits/ab", "kits/b/state", "state"] {
            let path = folder.path().join(beside);
            assert_eq!(chosen(beside).unwrap(), path);
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&kit, folder.path().join("link")).unwrap();
            let found = chosen("link/state");
            assert!(matches!(found, Err(FolderError::WithKit { .. })));
        }
    }
}
