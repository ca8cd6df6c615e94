//! Costs that do not depend on the machine's mood.

fn main() {}
