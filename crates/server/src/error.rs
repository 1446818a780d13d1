//! Why a server does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use openagents_workspace::StoreError;

/// Why a server does not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}; is another server running there? choose another with --port")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The workspace cannot be opened.
    #[error("cannot open the workspace in {data}")]
    Workspace {
        /// Its directory.
        data: PathBuf,
        /// What the store says.
        source: Box<StoreError>,
    },
    /// Others could reach the workspace, and nothing would keep them out.
    #[error(
        "{listen} can be reached by others and the workspace has no token: give one with --token or --token-file, \
         make one with `openagents token create`, require the password of a group, or insist with --open"
    )]
    WouldBeOpen {
        /// The address.
        listen: SocketAddr,
    },
    /// A certificate or key cannot be read or used.
    #[error("cannot use {path}: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
