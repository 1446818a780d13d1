//! The wire of OpenAgents 0.9, as far as it is not JSON: the messages of its gRPC service.
//!
//! They are generated from `proto/agent_service.proto`; a test holds the two to each other.

#[rustfmt::skip]
#[allow(unreachable_pub, clippy::pedantic, reason = "it is generated")]
mod messages;

use std::fmt;

pub use messages::*;
pub use prost;
pub use prost_types;

/// What carries a secret shows nothing.
macro_rules! hidden {
    ($($message:ident),*) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        })*
    };
}

hidden!(
    Event,
    RegisterAgentRequest,
    RegisterAgentResponse,
    UnregisterAgentRequest
);
