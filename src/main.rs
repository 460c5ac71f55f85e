//! teamlink
fn main() {}
