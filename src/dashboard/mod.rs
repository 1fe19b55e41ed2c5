//! The web pages: one lists the boards by state, one says of a board why it is where it is. They refresh themselves.

mod board;
mod boards;
mod context;
mod error_pages;
mod layout;
mod lifecycle;
mod overview;
mod router;

pub use self::router::router;
