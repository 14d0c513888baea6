//! The `ringd` command.

fn main() {}
