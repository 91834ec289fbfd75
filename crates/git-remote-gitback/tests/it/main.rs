//! The real program between a real git and a daemon that each test scripts.

mod daemon;
mod names;
mod refusals;
mod signing;
mod transfer;
mod world;
