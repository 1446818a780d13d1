//! The program as a whole: real processes, real sockets.

mod bench;
mod client;
mod demo;
mod harness;
mod help;
mod network;
mod serve;
mod token;
