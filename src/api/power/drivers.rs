//! The power drivers.

use axum::Json;
use axum::routing::get;
use serde::Serialize;

use crate::actions::{CycleTiming, OutletCapabilities, PowerUrl, Readback, power_schemes};
use crate::api::context::ApiRoutes;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/power/drivers", get(list))]
}

/// All drivers.
#[derive(Debug, Serialize)]
struct DriverListView {
    drivers: Vec<DriverView>,
}

/// A driver.
#[derive(Debug, Serialize)]
struct DriverView {
    scheme: &'static str,
    about: &'static str,
    /// The form of its power URLs.
    form: String,
    /// A power URL.
    example: &'static str,
    parameters: Vec<ParameterView>,
    /// What it can do with the outlet of the example.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<CapabilitiesView>,
    /// The form of the URL of a device that can be scanned; null where devices cannot.
    scan: Option<String>,
}

/// A parameter of power URLs.
#[derive(Debug, Serialize)]
struct ParameterView {
    name: &'static str,
    example: &'static str,
    about: &'static str,
}

/// What a driver can do with an outlet.
#[derive(Debug, Serialize)]
pub(super) struct CapabilitiesView {
    /// How the outlet is read: `alone`, `bank` with others, or `none`.
    readback: &'static str,
    /// Who times a power cycle of this outlet: `device` or `server`.
    cycle_timed_by: &'static str,
    /// How long a power cycle keeps it off.
    off_s: f64,
    /// Whether the device takes one client at a time, so that operations at it queue.
    one_client: bool,
    /// The rest of the device between connections.
    rest_s: f64,
    /// How long after an order its reading may still show the state before.
    effect_s: f64,
}

impl CapabilitiesView {
    /// The capabilities of the outlet of a power URL.
    pub(super) fn of(url: &PowerUrl) -> Self {
        let OutletCapabilities { readback, cycle_timing, client_capacity: _, settle_for, effect_within } =
            url.capabilities();
        let is_timed_by_device = match cycle_timing {
            CycleTiming::Caller => false,
            CycleTiming::Device { shortest, longest } => (shortest..=longest).contains(&url.off_for()),
        };
        Self {
            readback: match readback {
                Readback::Alone => "alone",
                Readback::Bank => "bank",
                Readback::None => "none",
            },
            cycle_timed_by: if is_timed_by_device { "device" } else { "server" },
            off_s: url.off_for().as_secs_f64(),
            one_client: url.resource().is_some(),
            rest_s: settle_for.as_secs_f64(),
            effect_s: effect_within.as_secs_f64(),
        }
    }
}

/// `GET /api/v1/power/drivers`: the schemes of power URLs, with examples.
async fn list() -> Json<DriverListView> {
    let drivers = power_schemes().iter().map(|scheme| DriverView {
        scheme: scheme.name(),
        about: scheme.about(),
        form: scheme.form().trim_matches('`').to_owned(),
        example: scheme.example(),
        parameters: scheme
            .parameters()
            .map(|(name, example, about)| ParameterView { name, example, about })
            .collect(),
        capabilities: scheme.example().parse().ok().map(|url: PowerUrl| CapabilitiesView::of(&url)),
        scan: scheme.scan_form(),
    });
    Json(DriverListView { drivers: drivers.collect() })
}
