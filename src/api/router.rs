//! The router of the API: one line per file of endpoints.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;

use super::context::{ApiContext, ApiRoutes};
use super::reserved_names::{self, ReservedNames};

/// The routes of all files. Fixed words of a path are reserved where other paths have a parameter ([`ReservedNames`]).
fn routes() -> ApiRoutes {
    let mut routes = [
        super::list::devices::routes(),
        super::list::state_counts::routes(),
        super::devices::routes(),
        super::device_why::routes(),
        super::events::routes(),
        super::requests::routes(),
        super::history::device_history::routes(),
        super::images::routes(),
        super::incidents::routes(),
        super::resources::routes(),
        super::power::operate::routes(),
        super::power::drivers::routes(),
        super::power::scan::routes(),
        super::machines::check::routes(),
        super::machines::definitions::routes(),
        super::machines::diagram::routes(),
        super::machines::load::routes(),
        super::machines::replay::routes(),
        super::instances::list::routes(),
        super::instances::show::routes(),
        super::instances::event::routes(),
        super::instances::force::routes(),
        super::instances::history::routes(),
        super::instances::why::routes(),
        super::models::routes(),
        super::faces::state_service::state::routes(),
        super::faces::state_service::predict::routes(),
        super::health::routes(),
        super::version::routes(),
        super::metrics::routes(),
    ]
    .concat();
    let reserved = ReservedNames::of(routes.iter().map(|(path, _)| *path));
    routes.extend(super::instances::create::routes(reserved));
    routes.extend(super::instances::remove::routes());
    routes
}

/// Creates the router.
pub fn router(api: ApiContext) -> Router {
    let routes = routes();
    let reserved = ReservedNames::of(routes.iter().map(|(path, _)| *path));
    let mut router = Router::new();
    for (path, methods) in routes {
        let methods = match reserved.of_path(path) {
            Some(name) => methods.fallback(async move |method: Method| reserved_names::refuse(&method, name)),
            None => methods,
        };
        router = router.route(path, methods);
    }
    router.with_state(Arc::new(api))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::reserved_names::fixed_words;
    use super::*;

    #[test]
    fn fixed_words_of_paths_are_reserved_only_among_instances() {
        let all = |template| fixed_words(routes().into_iter().map(|(path, _)| path), template);
        let expected = ["definitions", "diagram.svg", "instances", "replay"];
        assert_eq!(all("/api/v1/machines/{machine}/{instance}"), BTreeSet::from(expected));
        // Elsewhere a fixed word would make a name unreachable; `check` is served as the name of a machine, too.
        assert_eq!(all("/api/v1/machines/{machine}"), BTreeSet::from(["check"]));
        for template in [
            "/api/v1/devices/{name}",
            "/api/v1/devices/{name}/events/{event}",
            "/api/v1/devices/{name}/requests/{request}",
            "/api/v1/images/{name}",
            "/api/v1/resources/{name}",
            "/api/v1/models/{name}",
            "/api/v1/machines/{machine}/{instance}/events/{event}",
            "/api/v1/machines/{machine}/definitions/{number}",
        ] {
            assert_eq!(all(template), BTreeSet::new(), "{template}");
        }
    }
}
