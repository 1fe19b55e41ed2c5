//! Claims on resources and grants of their units, as rows store them.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Units of a resource that an action needs before it can begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The resources that satisfy the claim: the first free one is granted. Usually there is one. If there is
    /// a selector, this is what it currently selects, which is not stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// The selector by which a face finds the resources, if they are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// The number of units.
    pub units: u32,
    /// The limits of the resource that the claimant declares.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// The name of the hold in the definition, if the instance holds the units for as long as it is in certain states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Whether the action adds the load of its instance to the resource: it claims as much of all that contains it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adds_load: bool,
    /// Whether the action only asks whether the resource answers: it is granted also while there is an incident there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probes: bool,
}

/// The capacity of a resource and the pace of its grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// The number of units; `None`: unlimited.
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
    /// Creates limits with these spans.
    #[must_use]
    pub fn new(capacity: Option<u32>, gap: Duration, settle: Duration) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { capacity, gap_ms: ms(gap), settle_ms: ms(settle) }
    }
}

impl Claim {
    /// Claims a resource that has a capacity of one.
    #[must_use]
    pub fn exclusive(resource: &str) -> Self {
        let limits = ResourceLimits { capacity: Some(1), ..ResourceLimits::default() };
        Self {
            any_of: vec![resource.to_owned()],
            select: None,
            units: 1,
            limits,
            hold: None,
            adds_load: false,
            probes: false,
        }
    }

    /// The name of the queue: the selector, the resource, or the alternatives. Equal claims wait in one queue.
    #[must_use]
    pub fn queue_name(&self) -> Cow<'_, str> {
        match (&self.select, self.any_of.as_slice()) {
            (Some(selector), _) => Cow::Borrowed(selector),
            (None, [resource]) => Cow::Borrowed(resource),
            (None, several) => Cow::Owned(several.join(" or ")),
        }
    }

    /// Whether several resources satisfy the claim.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        self.select.is_some() || self.any_of.len() > 1
    }

    /// The resource, if there is no choice and its capacity is one.
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
    /// The resource.
    pub resource: String,
    /// The number of units.
    pub units: u32,
    /// The name of the hold in the definition, if the instance keeps the units after the action has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The load that comes with them, if the action adds any: then they cool after their release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<AddedLoad>,
}

/// The load that an action adds to a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedLoad {
    /// The current, in milliampere.
    pub ma: u32,
    /// Whether the resource contains the one that the action claims.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_container: bool,
    /// The least time for which a cycle keeps off what it switches, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_off_ms: u64,
}

impl GrantedUnits {
    /// Whether they are units of what contains the claimed resource.
    #[must_use]
    pub fn is_of_container(&self) -> bool {
        self.load.is_some_and(|load| load.is_container)
    }
}

/// The revision of a resource that a grant was decided by: the grant holds only if it is still the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantBasis {
    /// The resource.
    pub resource: String,
    /// Its revision.
    pub revision: i64,
    /// The limits that the claimant declares.
    pub limits: ResourceLimits,
}

/// The units that are granted to an action when it begins, or before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The units that it holds.
    pub units: Vec<GrantedUnits>,
    /// The resources that units are newly taken from; none for units that are held already.
    pub based_on: Vec<GrantBasis>,
}

/// Claims as columns of a row: the claims, their queue, and the lock for servers of the previous release.
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
            // Servers of the previous release do not know holds.
            place: claims.iter().filter(|claim| claim.hold.is_none()).find_map(Claim::exclusive_resource),
        }
    }
}

/// Returns the claims of a row; a row of a server of the previous release has only its lock.
pub(super) fn claims_of(claims: Option<Vec<Claim>>, place: Option<&str>) -> Vec<Claim> {
    claims.unwrap_or_else(|| place.map(Claim::exclusive).into_iter().collect())
}

/// Returns the claims that are still to be granted: all but those that the instance's holds `held` satisfy.
///
/// A compensation does not act for a state, so it needs no holds.
pub(super) fn missing_claims(mut claims: Vec<Claim>, held: &[String], is_compensation: bool) -> Vec<Claim> {
    claims.retain(|claim| claim.hold.as_ref().is_none_or(|name| !is_compensation && !held.contains(name)));
    claims
}
