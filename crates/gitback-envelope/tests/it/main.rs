//! The crate as its users see it: every vector, properties that hold for any input, and the fold's rules by name.

mod codec;
mod corpus;
mod fold;
mod limits;
mod sizes;
mod token;
mod vectors;
