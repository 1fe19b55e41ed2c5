//! What actions and states ask for and hold of resources, as rows have it.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Units of a resource that something needs before it can begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Any of these resources will do, the first that is free is taken. Mostly there is one. Of one with a selector, those
    /// that this means now; rows do not have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// By which a face says which resources will do, where that is not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// How many units.
    pub units: u32,
    /// What whoever claims it says of the resource.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// What the definition calls it, where the instance holds it for as long as it is in certain states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// How much there is of a resource, and how fast it may be handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// How many units there are; nothing is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// The time between two grants, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap_ms: u64,
    /// The time between a release and the next grant, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

impl ResourceLimits {
    /// Limits with these spans.
    #[must_use]
    pub fn new(capacity: Option<u32>, gap: Duration, settle: Duration) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { capacity, gap_ms: ms(gap), settle_ms: ms(settle) }
    }
}

impl Claim {
    /// All of a resource that only one may have at a time.
    #[must_use]
    pub fn exclusive(resource: &str) -> Self {
        let limits = ResourceLimits { capacity: Some(1), ..ResourceLimits::default() };
        Self { any_of: vec![resource.to_owned()], select: None, units: 1, limits, hold: None }
    }

    /// What it wants, in words: the resource, or any of several. Those that want the same wait for it one after the other.
    #[must_use]
    pub fn queue_name(&self) -> Cow<'_, str> {
        match (&self.select, self.any_of.as_slice()) {
            (Some(selector), _) => Cow::Borrowed(selector),
            (None, [resource]) => Cow::Borrowed(resource),
            (None, several) => Cow::Owned(several.join(" or ")),
        }
    }

    /// Whether any of several resources will do.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        self.select.is_some() || self.any_of.len() > 1
    }

    /// The resource, where only one will do and only one may have it at a time.
    pub(super) fn exclusive_resource(&self) -> Option<&str> {
        match self.any_of.as_slice() {
            [resource] if self.limits.capacity == Some(1) => Some(resource),
            _ => None,
        }
    }
}

/// Units of a resource that were granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedUnits {
    /// Of which one.
    pub resource: String,
    /// How many.
    pub units: u32,
    /// What the definition calls it, where the instance goes on to hold it when the action is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// A resource as it was when its units were granted: the grant stands only where it still is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantBasis {
    /// Its name.
    pub resource: String,
    /// Its revision.
    pub revision: i64,
    /// What whoever claims it says of it.
    pub limits: ResourceLimits,
}

/// What an action gets as it begins, or before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// What it holds then.
    pub units: Vec<GrantedUnits>,
    /// From what it is newly taken; nothing where it is held already.
    pub based_on: Vec<GrantBasis>,
}

/// What claims come to in a row: the claims, their queue, and what servers of the release before lock.
pub(super) struct ClaimColumns<'a> {
    pub(super) claims: Option<&'a [Claim]>,
    pub(super) queue: Option<Cow<'a, str>>,
    pub(super) place: Option<&'a str>,
}

impl<'a> ClaimColumns<'a> {
    pub(super) fn of(claims: &'a [Claim]) -> Self {
        Self {
            claims: (!claims.is_empty()).then_some(claims),
            queue: claims.first().map(Claim::queue_name),
            // What states hold, servers of the release before know nothing of.
            place: claims.iter().filter(|claim| claim.hold.is_none()).find_map(Claim::exclusive_resource),
        }
    }
}

/// The claims of a row; of one that a server of the release before wrote, what it locks.
pub(super) fn claims_of(claims: Option<Vec<Claim>>, place: Option<&str>) -> Vec<Claim> {
    claims.unwrap_or_else(|| place.map(Claim::exclusive).into_iter().collect())
}

/// What of `claims` is still to be had: not what the instance holds already by the names `held`. What is left of an action
/// speaks for no state, and needs nothing that states hold.
pub(super) fn missing_claims(mut claims: Vec<Claim>, held: &[String], is_rescue: bool) -> Vec<Claim> {
    claims.retain(|claim| claim.hold.as_ref().is_none_or(|name| !is_rescue && !held.contains(name)));
    claims
}
