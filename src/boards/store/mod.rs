//! The SQL about boards: one file a table, or a question.

pub mod boots;
pub mod devices;
pub mod images;
pub mod lists;
