//! Heartbeats.

pub use super::run::HEARTBEAT as TARGET;
