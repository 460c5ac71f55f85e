//! The worker loop: observe → plan → guard → apply → read back → settle.
