//! The real program between a real git and a daemon that each test scripts.

mod daemon;
mod moves;
mod names;
mod refusals;
mod says;
mod signing;
mod tokens;
mod transfer;
mod world;
