//! The program as a whole: real processes, real sockets.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod backup;
mod bench;
mod channels;
mod client;
mod demo;
mod files;
mod harness;
mod help;
mod messages;
mod network;
mod people;
mod retention;
mod serve;
mod token;
