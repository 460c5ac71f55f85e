//! What an operator can ask, one file a verb; `cli` prints it.

pub mod adopt;
pub mod apply;
mod blocks;
pub mod check;
pub mod explain;
pub mod integrations;
pub mod parked;
pub mod plan;
pub mod rebind;
pub mod release;
