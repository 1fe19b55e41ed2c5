//! The web pages: boards by state, one board in full, resources with their queue, and the lifecycle. They are rendered from the templates in
//! `templates/`, which escape the values inserted into them, and refresh themselves.

mod board;
mod boards;
mod context;
mod error_pages;
mod layout;
mod lifecycle;
mod overview;
mod resources;
mod router;

pub use self::router::router;
