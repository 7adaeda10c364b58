//! Memory in pages of 4 KiB: a daemon that mostly waits touches little of many pages, and of large ones it would
//! keep twice what it uses. To clear a page of 2 MiB takes a millisecond, too, in which nobody else gets that processor.

use std::{env, os::unix::process::CommandExt as _, process::Command};

/// How long mimalloc keeps what is freed, in milliseconds; it is read when the process begins.
const KEPT_FOR: &str = "MIMALLOC_PURGE_DELAY";

/// Asks the kernel for no transparent huge pages (`PR_SET_THP_DISABLE` of prctl(2)). To be called first: the allocator
/// has asked for large pages by then, but the wish for none outlives an exec, so the process begins once more under it;
/// what it did before that it does twice. Where that fails, it is larger, and that is all.
pub fn in_small_pages() {
    if wish_for_small_pages() {
        begin_again(&[]);
    }
}

/// As [`in_small_pages`], and what is freed goes back to the kernel at once: for a daemon that needs more while it
/// starts than ever again, and that is in no hurry. Who sets `MIMALLOC_PURGE_DELAY` is heeded instead.
pub fn in_few_pages() {
    if env::var_os(KEPT_FOR).is_some() {
        return in_small_pages();
    }
    wish_for_small_pages();
    begin_again(&[(KEPT_FOR, "0")]);
}

/// Whether the wish is new, and the kernel heeds it.
fn wish_for_small_pages() -> bool {
    !nix::sys::prctl::get_thp_disable().unwrap_or(true) && nix::sys::prctl::set_thp_disable(true).is_ok()
}

fn begin_again(variables: &[(&str, &str)]) {
    let mut words = env::args_os();
    if let (Ok(own), Some(name)) = (env::current_exe(), words.next()) {
        // It returns only when it fails.
        drop(Command::new(own).arg0(name).args(words).envs(variables.iter().copied()).exec());
    }
}
