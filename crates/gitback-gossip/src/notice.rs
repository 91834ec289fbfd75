//! What is spread through the fleet.
