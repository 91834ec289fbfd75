//! The helper socket over real unix sockets.

mod conversation;
mod layout;
mod limits;
mod listener;
mod messages;
mod place;
