//! What a peer says of where it can be reached, signed by it.
