//! The SQL of boards: one file for each table or kind of query.

pub mod boots;
pub mod devices;
pub mod hardware_loads;
pub mod images;
pub mod lists;
pub mod powers;
