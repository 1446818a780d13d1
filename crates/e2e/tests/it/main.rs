//! End-to-end suites: real servers, real sockets.

mod small_client;
