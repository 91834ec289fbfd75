//! What a peer has not got yet and is to get.
