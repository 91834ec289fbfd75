//! Pairing over real sockets, and everything that somebody in between, a stranger or a bad partner can try.

mod attacks;
mod pairing;
mod partners;
mod second;
mod strangers;
mod world;
