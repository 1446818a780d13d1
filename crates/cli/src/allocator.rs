//! Who manages the memory of this program, and of the libraries in C that are part of it.
//!
//! A message is made on one thread and dropped on another, and many small pieces of memory go with it. The allocator of
//! glibc takes a quarter of a busy server's time for that, and keeps what a busy time has taken.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// As many arenas as small machines have cores: each keeps its own pages. What is free for a second goes back to the
/// system, also when nothing happens any more.
#[allow(unsafe_code, reason = "the allocator looks for its settings under this name")]
// SAFETY: It is what jemalloc declares: a pointer to a text that ends with a zero. Nothing else has this name.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 70] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true\0";

#[cfg(test)]
mod tests {
    use tikv_jemalloc_ctl::{background_thread, opt};

    #[test]
    fn the_allocator_has_its_settings() {
        assert_eq!(opt::narenas::read().unwrap(), 2);
        assert!(background_thread::read().unwrap());
    }
}
