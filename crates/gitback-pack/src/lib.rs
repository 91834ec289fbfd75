//! Bare repositories: receive, check, serve, forward and catch up
