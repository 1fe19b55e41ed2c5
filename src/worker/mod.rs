//! Who carries actions out.
