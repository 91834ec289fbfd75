//! The fold: its rules by name, and that only the set of envelopes matters.

mod anywhere;
mod attack;
mod compare;
mod ends;
mod grants;
mod heads;
mod line;
mod members;
mod modelled;
mod oracle;
mod play;
mod quota;
mod ref_rules;
mod returning;
mod rules;
mod scenes;
mod stage;
mod vectors;
pub(crate) mod world;
