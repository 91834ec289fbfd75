//! Which envelopes two holders do not share.
