//! What an operator can ask, one file a verb; `cli` prints it.

pub mod apply;
pub mod check;
pub mod plan;
