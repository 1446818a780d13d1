//! The client against a peer that speaks the protocol frame by frame.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod deliveries;
mod handlers;
mod order;
mod peer;
mod sending;
mod waiting;
mod worker;
