//! Who sends a request: the client that limits count, and its address.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

/// Who counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientKey(IpAddr);

impl ClientKey {
    /// Of IPv6 its network: one machine has a whole one to choose its addresses from.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The client that sends a request. Those that come over no connection, as in tests, count as one.
    pub(super) fn of_request(extensions: &Extensions) -> Self {
        extensions
            .get()
            .map_or_else(|| Self::of(Ipv4Addr::UNSPECIFIED.into()), |peer: &ConnectionInfo| peer.client_key)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of_request(&parts.extensions))
    }
}

/// The client of a connection; each of its requests has it as an extension.
#[derive(Debug, Clone)]
pub(super) struct ConnectionInfo {
    /// Its address.
    pub(super) address: Arc<str>,
    /// As whom it is counted.
    pub(super) client_key: ClientKey,
    /// How long it may take to send a body.
    pub(super) body_timeout: Duration,
}

/// Who sends a request, as far as can be told: its address.
#[derive(Debug, Clone)]
pub(super) struct RequestSender(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for RequestSender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().map(|peer: &ConnectionInfo| peer.address.as_ref().to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::ClientKey;

    #[test]
    fn an_ipv6_client_is_its_network_and_a_mapped_address_is_its_ipv4_address() {
        let of = |text: &str| ClientKey::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
