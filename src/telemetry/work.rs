//! What the ledger and the reconciler do.
