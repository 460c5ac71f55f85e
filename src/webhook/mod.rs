//! The HTTP door in: limits, signature, then an `Inbox`.
