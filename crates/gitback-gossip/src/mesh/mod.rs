//! Which peers hear from which: a swarm that mends itself.
