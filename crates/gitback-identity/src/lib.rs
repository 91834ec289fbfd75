//! Keys, project ids, handles, puddle names and the gitback:// URL
