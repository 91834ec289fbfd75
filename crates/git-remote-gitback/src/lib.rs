//! git's remote helper for gitback:// URLs
