//! The text of a machine definition as a request's body.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use super::large_requests::LargeRequestPermit;
use super::problem::Problem;
use crate::machine::MAX_SOURCE_BYTES;

/// The text of a machine definition, of any content type.
#[derive(Debug)]
pub(super) struct DefinitionText {
    pub(super) text: String,
    /// Held while the text is processed.
    pub(super) permit: LargeRequestPermit,
}

impl<S: Send + Sync> FromRequest<S> for DefinitionText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (permit, bytes) = LargeRequestPermit::read(request, MAX_SOURCE_BYTES).await?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let detail = format!("the body is not UTF-8 text: invalid byte at {at}");
            Problem::new(StatusCode::BAD_REQUEST, "bad_text", detail)
        })?;
        if text.contains('\0') {
            return Err(Problem::invalid("the text holds the character U+0000, which cannot be stored"));
        }
        Ok(Self { text, permit })
    }
}
