//! Agents with hooks against a real server.

mod acting;
mod contexts;
mod files;
mod life;
mod talk;
