//! A minimal HTTP client, so that the cost of the load does not distort the measurement of the server.
//!
//! One keep-alive connection, one request at a time, and only the part of HTTP that the server uses.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Initial size of the read buffer, enough for the response to an event. Hundreds of large buffers would fill the
/// processor's caches.
const FIRST_READ_BYTES: usize = 1024;
/// Minimum growth of the buffer for longer responses.
const READ_CHUNK_BYTES: usize = 64 * 1024;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct BenchConnection {
    server: SocketAddr,
    stream: TcpStream,
    /// Whether the server keeps the connection open.
    is_kept: bool,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BenchResponse {
    /// The status code.
    pub(crate) status: u16,
    head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl BenchResponse {
    /// The first header with this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl BenchConnection {
    /// Opens a connection.
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { server, stream, is_kept: true, buffer: Vec::with_capacity(FIRST_READ_BYTES) })
    }

    /// Requests a path; `headers` are further header lines, each ending in CR LF.
    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> io::Result<BenchResponse> {
        self.call(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await
    }

    /// Posts an empty body to a path.
    pub(crate) async fn post(&mut self, path: &str) -> io::Result<BenchResponse> {
        self.call(&format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")).await
    }

    /// Posts JSON to a path.
    pub(crate) async fn post_json(&mut self, path: &str, body: &str) -> io::Result<BenchResponse> {
        let length = body.len();
        let head = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        self.call(&format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n{body}")).await
    }

    async fn call(&mut self, request: &str) -> io::Result<BenchResponse> {
        if !self.is_kept {
            *self = Self::open(self.server).await?;
        }
        self.stream.write_all(request.as_bytes()).await?;
        let head = self.head().await?;
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(not_http)?;
        self.is_kept = header(&head, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        let body = if status == 304 || status == 204 {
            Vec::new()
        } else if let Some(length) = header(&head, "content-length") {
            self.take(length.parse().map_err(|_| not_http())?).await?
        } else if header(&head, "transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            self.chunks().await?
        } else {
            return Err(not_http());
        };
        Ok(BenchResponse { status, head, body })
    }

    /// Reads the header section.
    async fn head(&mut self) -> io::Result<String> {
        let mut from = 0;
        loop {
            let found =
                self.buffer.get(from..).unwrap_or_default().windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(at) = found {
                let head = self.take(from + at + 4).await?;
                return String::from_utf8(head).map_err(|_| not_http());
            }
            from = self.buffer.len().saturating_sub(3);
            self.read().await?;
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let at = loop {
                match self.buffer.windows(2).position(|end| end == b"\r\n") {
                    Some(at) => break at,
                    None => self.read().await?,
                }
            };
            let line = self.take(at + 2).await?;
            let digits = str::from_utf8(&line).map_err(|_| not_http())?.trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| not_http())?;
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Takes `count` bytes from the buffer, reading more if necessary.
    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.read().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(READ_CHUNK_BYTES);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "invalid HTTP response")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn responses_on_one_connection_are_separated_in_any_framing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\netag: \"x\"\r\n\r\nhi",
                "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            ] {
                let mut request = [0; 1000];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut connection = BenchConnection::open(address).await.unwrap();
        let first = connection.get("/", "").await.unwrap();
        assert_eq!(
            (first.status, first.body.as_slice(), first.header("etag")),
            (200, &b"hi"[..], Some("\"x\""))
        );
        assert_eq!(connection.get("/", "if-none-match: \"x\"\r\n").await.unwrap().status, 304);
        assert_eq!(connection.get("/", "").await.unwrap().body, b"abc0123456789");
        assert_eq!(connection.post("/").await.unwrap().status, 503);
        assert_eq!(connection.post("/").await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_server_that_ends_each_connection_is_connected_to_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1000];
                let length = stream.read(&mut request).await.unwrap();
                request.truncate(length);
                assert!(request.ends_with(b"content-length: 2\r\n\r\n{}"), "{request:?}");
                let answer = "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut connection = BenchConnection::open(address).await.unwrap();
        for _ in 0..2 {
            assert_eq!(connection.post_json("/state", "{}").await.unwrap().body, b"hi");
        }
    }
}
