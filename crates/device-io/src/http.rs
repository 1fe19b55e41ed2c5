//! HTTP requests to devices, one per connection.

use http_body_util::{BodyExt, Full, Limited};
pub use hyper::Method;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::authentication::Authorization;
use crate::recording::RecordingStream;

/// The longest body of an answer.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A request to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The method.
    pub method: Method,
    /// Path and query, such as `/cm?cmnd=Power`.
    pub target: String,
    /// User and password, or an answer to a challenge.
    pub authorization: Option<Authorization>,
    /// Media type and text of the body.
    pub body: Option<(&'static str, String)>,
}

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceResponse {
    /// The status.
    pub status: u16,
    /// The `WWW-Authenticate` headers.
    pub challenges: Vec<String>,
    /// Where the device says when it will be ready.
    pub retry_after: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The body as text; invalid UTF-8 is replaced.
    pub body: String,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeviceHttpError {
    /// The request is invalid and was not sent.
    #[error("invalid HTTP request: {0}")]
    Request(hyper::http::Error),
    /// The answer is not HTTP, or too long.
    #[error("not HTTP")]
    NotHttp,
    /// The device closed the connection.
    #[error("connection closed")]
    Closed(#[source] hyper::Error),
}

impl DeviceRequest {
    /// A request without a body.
    #[must_use]
    pub fn get(target: String) -> Self {
        Self { method: Method::GET, target, authorization: None, body: None }
    }

    fn build(&self, authority: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        // Devices with few connections get this one back at once.
        let request = Request::builder().method(&self.method).uri(&self.target);
        let mut request = request.header(HOST, authority).header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::from_bytes(authorization.value().as_bytes())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((media_type, text)) = &self.body {
            return request.header(CONTENT_TYPE, *media_type).body(Full::from(text.clone()));
        }
        request.body(Full::default())
    }
}

/// Sends `request` on a new connection to `authority`. The first bytes of the answer are recorded in `received`, also
/// when the call is dropped before its end.
///
/// # Errors
///
/// [`DeviceHttpError`]; except for [`DeviceHttpError::Request`], the device may have executed the request.
pub async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + Send),
    authority: &str,
    request: &DeviceRequest,
    received: &mut Vec<u8>,
) -> Result<DeviceResponse, DeviceHttpError> {
    let request = request.build(authority).map_err(DeviceHttpError::Request)?;
    let io = TokioIo::new(RecordingStream { stream, received });
    let (mut sender, connection) = http1::handshake(io).await.map_err(http_error)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(http_error)?;
        let status = response.status().as_u16();
        let headers = response.headers();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let header = |name: HeaderName| headers.get(name).map(text);
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().map(text).collect();
        let (retry_after, location) = (header(RETRY_AFTER), header(LOCATION));
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(error) => http_error(*error),
                Err(_too_long) => DeviceHttpError::NotHttp,
            }
        })?;
        Ok(DeviceResponse {
            status,
            challenges,
            retry_after,
            location,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    };
    let driven = async {
        // The exchange reports how the connection ended.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::recording::MAX_RECORDED_BYTES;

    /// Sends a request to a device that answers with these bytes and closes; returns the result and the recorded bytes.
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
        let request = DeviceRequest::get("/cm?cmnd=Power".to_owned());
        let (answer, ()) = tokio::join!(send(&mut stream, "plug:80", &request, &mut received), device);
        (answer, received)
    }

    #[tokio::test]
    async fn answers_are_read_completely_with_any_framing() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nbody",
        ] {
            let (answer, received) = ask(bytes.as_bytes()).await;
            let expected = DeviceResponse {
                status: 200,
                challenges: Vec::new(),
                retry_after: None,
                location: None,
                body: "body".to_owned(),
            };
            assert_eq!(answer.unwrap(), expected, "{bytes}");
            assert_eq!(received, bytes.as_bytes());
        }
    }

    #[tokio::test]
    async fn invalid_and_incomplete_answers_are_distinguished_and_recorded() {
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
