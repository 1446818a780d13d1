//! Agents with hooks against a real server.

mod contexts;
mod files;
mod helpers;
mod life;
mod talk;
