//! Names that are fixed words of paths: an instance with such a name could be created, but not be reached.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// The path of instances.
const INSTANCE_PATH: &str = "/api/v1/machines/{machine}/{instance}";

/// The names that no instance can have.
#[derive(Debug, Clone)]
pub(super) struct ReservedNames(Arc<BTreeSet<&'static str>>);

impl ReservedNames {
    /// The fixed words of `paths` in the position of an instance's name.
    pub(super) fn of(paths: impl Iterator<Item = &'static str>) -> Self {
        Self(Arc::new(fixed_words(paths, INSTANCE_PATH)))
    }

    /// Whether an instance cannot have this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The name that is reserved for `path`, if its last segment is in the position of an instance's name.
    pub(super) fn of_path(&self, path: &'static str) -> Option<&'static str> {
        let (_, last) = path.rsplit_once('/')?;
        let (before, _) = INSTANCE_PATH.rsplit_once('/')?;
        let is_in_position = path.strip_prefix(before).and_then(|rest| rest.strip_prefix('/')) == Some(last);
        (is_in_position && self.contains(last)).then_some(last)
    }
}

impl fmt::Display for ReservedNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().copied().collect::<Vec<_>>().join(", "))
    }
}

/// Answers a method that the path of a reserved name does not accept. A PUT would create an instance with that name: the answer
/// to it carries the problem that [`HttpFrontend`](super::frontend::HttpFrontend) sends.
pub(super) fn refuse(method: &Method, name: &str) -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if method == Method::PUT {
        let detail = format!("no instance can be called {name:?}, which is a path of its own");
        response.extensions_mut().insert(Problem::invalid(detail));
    }
    response
}

/// The fixed words of `paths` in the position of the last parameter of `template`.
pub(super) fn fixed_words<'a>(paths: impl Iterator<Item = &'a str>, template: &str) -> BTreeSet<&'a str> {
    let before = template.rsplit_once('/').map_or("", |(before, _)| before);
    let next = |path: &'a str| path.strip_prefix(before)?.strip_prefix('/')?.split('/').next();
    paths.filter_map(next).filter(|word| !word.starts_with('{')).collect()
}
