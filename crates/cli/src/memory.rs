//! The allocator of glibc keeps an arena for each of many threads, and keeps there what was freed. A server whose work
//! moves from thread to thread would hold the same peak several times, long after it is over.

use std::time::Duration;

use openagents_protocol::Sequence;
use openagents_server::Server;

/// Nothing new for this long, and memory that was freed goes back.
const QUIET: Duration = Duration::from_secs(5);

/// Lets all threads share as many arenas as small machines have cores. To be called before there are threads.
pub(crate) fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a setting of the allocator, without a safe way to it")]
    // SAFETY: `mallopt` takes two numbers, touches no memory of ours, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives memory back whenever a busy time is over; never ends. Costs nothing while nothing happens.
pub(crate) async fn give_back_when_quiet(server: &Server) {
    loop {
        let workspace = server.workspace();
        workspace.beyond(workspace.head()).await;
        let mut head = Sequence::ZERO;
        while head != workspace.head() {
            head = workspace.head();
            tokio::time::sleep(QUIET).await;
        }
        // It takes milliseconds where there is much to give back.
        drop(tokio::task::spawn_blocking(give_back).await);
    }
}

fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a service of the allocator, without a safe way to it")]
    // SAFETY: `malloc_trim` returns free pages to the system and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
