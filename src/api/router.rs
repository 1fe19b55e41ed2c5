//! The API's router: one line for each file of endpoints.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;

use super::context::{Api, Routes};
use super::faces::state_service;
use super::reserved::{self, ReservedNames};
use super::{
    device_why, devices, events, health, history, images, instances, list, machines, metrics, models,
    requests,
};

/// The routes of all files. The fixed words of a path are not free for what others have a parameter in that place for:
/// [`ReservedNames`] knows which those are.
fn routes() -> Routes {
    let mut routes = [
        list::devices::routes(),
        list::states::routes(),
        devices::routes(),
        device_why::routes(),
        events::routes(),
        requests::routes(),
        history::of_device::routes(),
        images::routes(),
        machines::check::routes(),
        machines::definitions::routes(),
        machines::diagram::routes(),
        machines::load::routes(),
        machines::replay::routes(),
        instances::list::routes(),
        instances::show::routes(),
        instances::event::routes(),
        instances::force::routes(),
        instances::history::routes(),
        instances::why::routes(),
        models::routes(),
        state_service::state::routes(),
        state_service::predict::routes(),
        health::routes(),
        metrics::routes(),
    ]
    .concat();
    let reserved = ReservedNames::of(routes.iter().map(|(path, _)| *path));
    routes.extend(instances::create::routes(reserved));
    routes.extend(instances::remove::routes());
    routes
}

/// Makes the router.
pub fn router(api: Api) -> Router {
    let routes = routes();
    let reserved = ReservedNames::of(routes.iter().map(|(path, _)| *path));
    let mut router = Router::new();
    for (path, methods) in routes {
        let methods = match reserved.of_path(path) {
            Some(name) => methods.fallback(async move |method: Method| reserved::refuse(&method, name)),
            None => methods,
        };
        router = router.route(path, methods);
    }
    router.with_state(Arc::new(api))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::reserved::fixed_words;
    use super::*;

    #[test]
    fn the_words_of_our_paths_are_known_by_the_paths() {
        let all = |template| fixed_words(routes().into_iter().map(|(path, _)| path), template);
        let expected = ["definitions", "diagram.svg", "instances", "replay"];
        assert_eq!(all("/api/v1/machines/{machine}/{instance}"), BTreeSet::from(expected));
        // Elsewhere a fixed word would make something unreachable, too; of machines, `check` is served as one.
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
