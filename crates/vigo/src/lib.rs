//! Commands for people
