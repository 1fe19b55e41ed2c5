//! A minimal HTTP client that sends each request once, and knows whether it was answered.
//!
//! Libraries may retry requests that they consider unprocessed; the counts here must not depend on that.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A persistent connection.
pub(super) struct HttpConnection {
    stream: BufReader<TcpStream>,
    pub(super) server: SocketAddr,
}

impl HttpConnection {
    pub(super) async fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), server })
    }

    /// Posts `body` and returns the complete answer. After an error the connection is unusable.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let (host, body) = (self.server, body.to_string());
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let status = self.line().await?;
        let status =
            status.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled_error)?;
        let mut length = None;
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length.ok_or_else(garbled_error)?];
        self.stream.read_exact(&mut body).await?;
        Ok((status, serde_json::from_slice(&body)?))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        // A line without its end comes from a killed server.
        line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }
}

fn garbled_error() -> Error {
    Error::other("the answer is no HTTP")
}
