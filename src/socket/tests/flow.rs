//! Back-pressure, pauses and heartbeats.
