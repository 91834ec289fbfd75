//! The daemon as other envoys and local programs see it: real sockets, real git, one process.

mod peers;
mod world;
