//! The program as a whole: real processes, real sockets.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backup;
mod bench;
mod client;
mod demo;
mod harness;
mod help;
mod network;
mod serve;
mod token;
