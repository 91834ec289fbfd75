//! A swarm in one process.
