//! Envoys talking to each other over real sockets on the loopback.

mod blocks;
mod fleet;
mod heal;
mod hostile;
mod identity;
mod life;
mod lying;
mod push;
mod raw;
mod routes;
mod source;
mod stage;
mod upload_pack;
