//! What both clients share: error classes, backoff. Pure; clock and jitter are arguments.
