//! The daemon: composes the layers and owns the clock
