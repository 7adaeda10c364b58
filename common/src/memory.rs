//! Memory in pages of 4 KiB: a daemon that mostly waits touches little of many pages, and of large ones it would
//! keep twice what it uses.

use std::{env, os::unix::process::CommandExt as _, process::Command};

/// Asks the kernel for no transparent huge pages (`PR_SET_THP_DISABLE` of prctl(2)). To be called first: the allocator
/// has asked for large pages by then, but the wish for none outlives an exec, so the process begins once more under it.
/// Where that fails, it is larger, and that is all.
pub fn in_small_pages() {
    if nix::sys::prctl::get_thp_disable().unwrap_or(true) || nix::sys::prctl::set_thp_disable(true).is_err() {
        return;
    }
    let mut words = env::args_os();
    if let (Ok(own), Some(name)) = (env::current_exe(), words.next()) {
        // It returns only when it fails.
        drop(Command::new(own).arg0(name).args(words).exec());
    }
}
