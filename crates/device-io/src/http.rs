//! HTTP requests to devices, one a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The longest body that a device may answer with.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How many of the bytes that came are kept for evidence.
const MAX_RECORDED_BYTES: usize = 4096;

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceResponse {
    /// The status.
    pub status: u16,
    /// The body, as text; what is no UTF-8 is replaced.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeviceHttpError {
    /// The request cannot be sent as it is: an error of ours.
    #[error("no HTTP request: {0}")]
    Request(hyper::http::Error),
    /// What came is not HTTP, or longer than an answer of a device may be.
    #[error("no HTTP")]
    NotHttp,
    /// The device closed the connection.
    #[error("connection closed")]
    Closed(#[source] hyper::Error),
}

/// Asks for `target`, such as `/cm?cmnd=Power`, on a fresh connection to `authority`. The first bytes that come are in
/// `received`, also where the call is dropped before its end.
///
/// # Errors
///
/// [`DeviceHttpError`]; unless it is [`DeviceHttpError::Request`], the request may have been carried out.
pub async fn get(
    stream: &mut TcpStream,
    authority: &str,
    target: &str,
    received: &mut Vec<u8>,
) -> Result<DeviceResponse, DeviceHttpError> {
    // A device with room for few connections is to have it back at once.
    let request = Request::get(target).header(HOST, authority).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(DeviceHttpError::Request)?;
    let io = TokioIo::new(RecordingStream { stream, received });
    let (mut sender, connection) = http1::handshake(io).await.map_err(http_error)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(http_error)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(error) => http_error(*error),
                Err(_too_long) => DeviceHttpError::NotHttp,
            }
        })?;
        Ok(DeviceResponse { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    };
    let driven = async {
        // How it ends is told by the exchange.
        let _ended = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = driven => Err(DeviceHttpError::NotHttp),
    }
}

fn http_error(error: hyper::Error) -> DeviceHttpError {
    if error.is_parse() || error.is_parse_too_large() {
        DeviceHttpError::NotHttp
    } else {
        DeviceHttpError::Closed(error)
    }
}

/// A stream that keeps the first bytes that come.
struct RecordingStream<'a> {
    stream: &'a mut TcpStream,
    received: &'a mut Vec<u8>,
}

impl AsyncRead for RecordingStream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut *self.stream).poll_read(context, buffer));
        let room = MAX_RECORDED_BYTES - self.received.len();
        self.received.extend(buffer.filled().iter().skip(before).take(room));
        Poll::Ready(read)
    }
}

impl AsyncWrite for RecordingStream<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What a device that answers with these bytes and closes is understood to say, and what was received.
    async fn ask(answer: &[u8]) -> (Result<DeviceResponse, DeviceHttpError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut received = Vec::new();
        let device = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.starts_with("GET /cm?cmnd=Power HTTP/1.1\r\n"), "{request}");
            assert!(request.to_lowercase().contains("host: plug:80\r\n"), "{request}");
            stream.write_all(answer).await.unwrap();
        };
        let (answer, ()) = tokio::join!(get(&mut stream, "plug:80", "/cm?cmnd=Power", &mut received), device);
        (answer, received)
    }

    #[tokio::test]
    async fn answers_are_read_whole_however_their_length_is_told() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nbody",
        ] {
            let (answer, received) = ask(bytes.as_bytes()).await;
            assert_eq!(answer.unwrap(), DeviceResponse { status: 200, body: "body".to_owned() }, "{bytes}");
            assert_eq!(received, bytes.as_bytes());
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_apart_and_kept() {
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {0}\r\n\r\n{1}",
            MAX_BODY_BYTES + 1,
            "x".repeat(MAX_BODY_BYTES + 1)
        );
        for bytes in ["SSH-2.0-OpenSSH_9.2\r\n", &long] {
            let (answer, received) = ask(bytes.as_bytes()).await;
            assert!(matches!(answer, Err(DeviceHttpError::NotHttp)), "{answer:?}");
            assert!(bytes.as_bytes().starts_with(&received) && received.len() <= MAX_RECORDED_BYTES);
        }
        for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody"]
        {
            let (answer, received) = ask(bytes.as_bytes()).await;
            assert!(matches!(answer, Err(DeviceHttpError::Closed(_))), "{bytes}: {answer:?}");
            assert_eq!(received, bytes.as_bytes());
        }
    }
}
