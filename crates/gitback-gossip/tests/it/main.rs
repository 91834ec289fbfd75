//! The crate as its users see it: every vector, and properties that hold for any input.

mod corpus;
mod properties;
mod vectors;
