//! A real server on a free port, and clients that know nothing but the wire.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod admission;
mod any_input;
mod bad_input;
mod catalogue;
mod documents;
mod harness;
mod large;
mod legacy;
mod limits;
mod openapi;
mod origins;
mod other_ways;
mod polling;
mod privacy;
mod repetition;
mod replay;
mod rest;
mod stubborn_clients;
mod takeover;
mod tls;
