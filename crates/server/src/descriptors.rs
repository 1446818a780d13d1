//! How many connections the descriptors of this process leave room for.

use crate::config::Limits;

/// Descriptors for what is no connection: the files of the workspace with their readers, files on their way, the runtime.
const RESERVED: u64 = 128;

/// Less room than this is little for a server.
const FEW: usize = 1_000;

/// The most connections, where an operator allows this many: a server that spent its last descriptor on a connection
/// could not read its own files any more.
pub(crate) fn connections(allowed: usize) -> usize {
    let Some(descriptors) = limit() else {
        return allowed;
    };
    let room = room(descriptors);
    // Nobody asked for the default: fewer than that is worth a warning only where it is few.
    if room < allowed && (allowed != Limits::default().max_connections || room < FEW) {
        tracing::warn!(
            allowed,
            room,
            descriptors,
            "the limit of descriptors leaves room for fewer connections"
        );
    }
    allowed.min(room)
}

/// What is left for connections.
fn room(descriptors: u64) -> usize {
    // With few descriptors connections get a part of them.
    let room = descriptors.saturating_sub(RESERVED).max(descriptors / 4);
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(unix)]
fn limit() -> Option<u64> {
    rlimit::Resource::NOFILE.get_soft().ok()
}

#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_store() {
        for (descriptors, expected) in [(20_128, 20_000), (1_024, 896), (160, 40), (100, 25)] {
            assert_eq!(room(descriptors), expected, "of {descriptors}");
        }
        assert_eq!(connections(7), 7, "what an operator allows is the most");
    }
}
