//! One person's key: at rest, and in the session that signs with it
