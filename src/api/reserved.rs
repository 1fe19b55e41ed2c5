//! Names that are words of our paths: an instance of such a name would be created and never found again.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Where instances of machines are.
const INSTANCE: &str = "/api/v1/machines/{machine}/{instance}";

/// What follows a machine in paths and is no instance.
static INSTANCES: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| words(super::routes().into_iter().map(|(path, _)| path), INSTANCE));

/// The names that no instance can have.
pub(super) fn instances() -> &'static BTreeSet<&'static str> {
    &INSTANCES
}

/// Says why nothing can be put at `path`, where that is because of a name that no instance can have.
pub(super) fn explain(path: &str) -> Option<String> {
    let mut segments = path.strip_prefix("/api/v1/machines/")?.split('/');
    let (machine, name) = (segments.next()?, segments.next()?);
    let is_reserved = segments.next().is_none() && !machine.is_empty() && INSTANCES.contains(name);
    is_reserved.then(|| format!("no instance can be called {name:?}, which is a path of its own"))
}

/// The fixed words that stand, in one of `paths`, where the last parameter of `template` is.
fn words<'a>(paths: impl Iterator<Item = &'a str>, template: &str) -> BTreeSet<&'a str> {
    let before = template.rsplit_once('/').map_or("", |(before, _)| before);
    let next = |path: &'a str| path.strip_prefix(before)?.strip_prefix('/')?.split('/').next();
    paths.filter_map(next).filter(|word| !word.starts_with('{')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_our_paths_are_known_by_the_paths() {
        let expected = ["definitions", "diagram.svg", "instances", "replay"];
        assert_eq!(instances().iter().copied().collect::<Vec<_>>(), expected);
        // Elsewhere a fixed word would make something unreachable, too; of machines, `check` is served as one.
        let all = |template| words(super::super::routes().into_iter().map(|(path, _)| path), template);
        assert_eq!(all("/api/v1/machines/{machine}"), BTreeSet::from(["check"]));
        for template in [
            "/api/v1/devices/{name}",
            "/api/v1/devices/{name}/events/{event}",
            "/api/v1/devices/{name}/requests/{request}",
            "/api/v1/images/{name}",
            "/api/v1/models/{name}",
            "/api/v1/machines/{machine}/{instance}/events/{event}",
            "/api/v1/machines/{machine}/definitions/{number}",
        ] {
            assert_eq!(all(template), BTreeSet::new(), "{template}");
        }
    }
}
