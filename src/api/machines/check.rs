//! Checks a definition without loading it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};

use super::background_check::check_in_background;
use crate::api::client::ClientKey;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::definition_text::DefinitionText;
use crate::api::problem::Problem;
use crate::machine::{CheckReport, Vocabulary};

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/check", post(check))]
}

/// `POST /api/v1/machines/check`: lists the faults of the definition in the body; nothing is stored.
async fn check(
    State(api): State<Arc<ApiContext>>,
    client: ClientKey,
    definition: DefinitionText,
) -> Result<Json<Value>, Problem> {
    faults(api.engine.vocabulary(), client, definition).await
}

async fn faults(
    vocabulary: &Arc<Vocabulary>,
    client: ClientKey,
    DefinitionText { text, permit }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let (CheckReport { definition, faults }, _) =
        check_in_background(vocabulary, text, client, &permit).await?;
    let machine = definition.as_ref().map(|definition| &definition.machine);
    Ok(Json(json!({ "ok": definition.is_some(), "machine": machine, "faults": faults })))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::{FromRequest, Request};
    use futures_util::FutureExt;

    use super::super::background_check::CHECK_PERMIT;
    use super::*;
    use crate::api::large_requests::PERMIT_TIMEOUT;
    use crate::machine::NamedActions;

    fn client(number: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn one_definition_is_checked_at_a_time() {
        let acquire = |number| Box::pin(CHECK_PERMIT.acquire(client(number), PERMIT_TIMEOUT, "tests"));
        let held = acquire(1).await.unwrap();
        let request = Request::new(Body::from("no definition"));
        let definition = DefinitionText::from_request(request, &()).await.unwrap();
        let vocabulary = Arc::new(Vocabulary::new(Arc::new(NamedActions::default())));
        let mut checked = Box::pin(faults(&vocabulary, client(2), definition));
        assert!(checked.as_mut().now_or_never().is_none());
        let mut next = acquire(3);
        assert!(next.as_mut().now_or_never().is_none());
        drop(held);
        assert!(next.as_mut().now_or_never().is_none(), "the check is queued before it");
        let Json(answer) = checked.await.unwrap();
        assert_eq!(answer["ok"], json!(false));
        assert!(next.now_or_never().unwrap().is_ok(), "the check is done");
    }
}
