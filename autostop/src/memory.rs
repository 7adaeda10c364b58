//! Memory in pages of 4 KiB: a daemon that mostly waits touches little of many pages, and of large ones it would
//! keep twice what it uses.

/// Asks the kernel for no transparent huge pages from now on (`PR_SET_THP_DISABLE` of prctl(2)). Without its answer
/// everything works the same.
pub fn in_small_pages() {
    nix::sys::prctl::set_thp_disable(true).ok();
}
