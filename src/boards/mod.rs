//! Boards: a face of the engine. What definitions may name of them is registered here.

mod vocabulary;

pub use vocabulary::{BOARD, vocabulary};
