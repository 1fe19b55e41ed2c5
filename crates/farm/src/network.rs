//! A board's network: TFTP and HTTP from its own address, and its port for polls.
//!
//! Timeouts of servers use real time, because the servers are real. Retries are scheduled by the board.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpSocket};

use tftp::client::{self, TftpClientError, TransferOptions};
use tftp::packet::TftpErrorCode;

/// How long a board waits for the answer to one HTTP request.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// Answer to a board's request for its boot config.
pub(super) enum BootConfigAnswer {
    /// The boot config.
    Text(String),
    /// There is no boot config.
    None,
    /// The request failed.
    Failed(TftpClientError),
}

/// A board's network connections.
pub(super) struct BoardNetwork {
    address: Ipv4Addr,
    tftp: SocketAddr,
    device_url: String,
    http: reqwest::Client,
    poll: SocketAddr,
    /// Bound but not listening: it reserves the port while that is closed.
    reserved: Mutex<Option<TcpSocket>>,
}

/// A board's open port for polls. Its fields are dropped in this order: the port is closed, then reserved.
pub(super) struct OpenPort<'a> {
    listener: TcpListener,
    _reservation: PortReservation<'a>,
}

/// Reserves the port when it is dropped.
struct PortReservation<'a>(&'a BoardNetwork);

impl OpenPort<'_> {
    /// Accepts a connection and closes it, which is all that a poll needs.
    pub(super) async fn answer_poll(&self) -> io::Result<()> {
        self.listener.accept().await.map(drop)
    }
}

impl Drop for PortReservation<'_> {
    fn drop(&mut self) {
        // A port that cannot be reserved is bound when it is opened.
        *self.0.lock_reserved() = bind(self.0.poll).ok();
    }
}

impl BoardNetwork {
    /// Creates the network of the board `name` at `address` for Lifeguard's `server` and `tftp`.
    pub(super) fn new(name: &str, address: Ipv4Addr, server: &str, tftp: SocketAddr) -> io::Result<Self> {
        let port = bind(SocketAddr::from((address, 0)))?;
        // Each request has its own connection, like a script's; proxies are ignored.
        let http = reqwest::Client::builder()
            .local_address(std::net::IpAddr::from(address))
            .timeout(HTTP_TIMEOUT)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(io::Error::other)?;
        let device_url = format!("{}/api/v1/devices/{name}", server.trim_end_matches('/'));
        let poll = port.local_addr()?;
        Ok(Self { address, tftp, device_url, http, poll, reserved: Mutex::new(Some(port)) })
    }

    /// Returns the address for polls.
    pub(super) fn poll(&self) -> SocketAddr {
        self.poll
    }

    /// Opens the port for polls. Large farms have one file descriptor for each board.
    pub(super) fn open_port(&self) -> io::Result<OpenPort<'_>> {
        let reserved = self.lock_reserved().take();
        let reservation = PortReservation(self);
        let socket = reserved.map_or_else(|| bind(self.poll), Ok)?;
        Ok(OpenPort { listener: socket.listen(16)?, _reservation: reservation })
    }

    fn lock_reserved(&self) -> MutexGuard<'_, Option<TcpSocket>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches `file` from the boot tree.
    pub(super) async fn fetch(&self, file: &str) -> Result<Vec<u8>, TftpClientError> {
        client::fetch(self.tftp, self.address.into(), file, &TransferOptions::default()).await
    }

    /// Requests a boot config.
    pub(super) async fn fetch_config(&self, file: &str) -> BootConfigAnswer {
        match self.fetch(file).await {
            Ok(content) => BootConfigAnswer::Text(String::from_utf8_lossy(&content).into_owned()),
            Err(TftpClientError::Refused { code: TftpErrorCode::NOT_FOUND, .. }) => BootConfigAnswer::None,
            Err(error) => BootConfigAnswer::Failed(error),
        }
    }

    /// Reports `event` once. Any 2xx answer counts as success, JSON or not.
    pub(super) async fn report(
        &self,
        event: &str,
        arguments: Option<&Value>,
        visit: Option<u64>,
    ) -> Result<Map<String, Value>, reqwest::Error> {
        let mut request = self.http.post(format!("{}/events/{event}", self.device_url));
        if let Some(visit) = visit {
            request = request.query(&[("visit", visit)]);
        }
        if let Some(arguments) = arguments {
            request = request.json(arguments);
        }
        answer(request).await
    }

    /// Requests the boot arguments once.
    pub(super) async fn boot_arguments(&self) -> Result<Map<String, Value>, reqwest::Error> {
        answer(self.http.get(format!("{}/boot-config", self.device_url))).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Map<String, Value>, reqwest::Error> {
    let body = request.send().await?.error_for_status()?.bytes().await?;
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
