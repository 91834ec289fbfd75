//! Who hands a push on to whom.
