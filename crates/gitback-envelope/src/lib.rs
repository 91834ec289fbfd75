//! Signed envelopes, their chains, and the fold that turns them into a project's state
