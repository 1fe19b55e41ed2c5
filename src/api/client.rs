//! The client of a request: its address, and the key by which limits count it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

/// The key by which limits count a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientKey(IpAddr);

impl ClientKey {
    /// The key of an address: the IPv4 address, or the IPv6 network (/64), because one machine has all
    /// addresses of such a network.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The client of a request. Requests without a connection, as in tests, count as one client.
    pub(super) fn of_request(extensions: &Extensions) -> Self {
        extensions.get().map_or_else(
            || Self::of(Ipv4Addr::UNSPECIFIED.into()),
            |connection: &ConnectionInfo| connection.client_key,
        )
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
    /// The key by which limits count it.
    pub(super) client_key: ClientKey,
    /// How long it may take to send a body, before the time for its size.
    pub(super) body_timeout: Duration,
}

/// The sender of a request: its address, where it is known.
#[derive(Debug, Clone)]
pub(super) struct RequestSender(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for RequestSender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(
            parts.extensions.get().map(|connection: &ConnectionInfo| connection.address.as_ref().to_owned()),
        ))
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
