//! Signals → a token passed as an argument; a drain with a deadline that says who was late.
