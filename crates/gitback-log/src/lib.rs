//! The envelope log on disk: append, sync, recover
