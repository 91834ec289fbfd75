//! End to end: plain git, real daemons.
