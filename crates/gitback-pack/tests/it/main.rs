//! The crate against real git: pushes, fetches, damage, crashes.

mod adopting;
mod bombs;
mod completeness;
mod differences;
mod fetching;
mod giving;
mod ingesting;
mod opening;
mod pushing;
mod refs;
mod repacking;
mod scrubbing;
mod serving;
mod support;
mod unreachable;
