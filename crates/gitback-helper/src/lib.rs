//! The helper socket: its protocol, client and server halves, and where state lives
