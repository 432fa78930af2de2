//! The `bitcask` command.
fn main() {}
