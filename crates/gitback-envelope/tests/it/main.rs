//! The crate as its users see it: every vector, properties that hold for any input, and the fold's rules by name.

mod corpus;
mod vectors;
