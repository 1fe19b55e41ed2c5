//! Lifeguard's command line: see [`lifeguard::cli`].
fn main() {}
