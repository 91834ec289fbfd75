//! The HTTP surface between envoys, over mutual TLS with raw keys
