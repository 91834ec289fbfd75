//! Who goes first when two move one ref at once.
