//! Entity tags of lists, by which 304 is answered without a look at any board.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::HeaderMap;

use crate::api::context::ApiContext;
use crate::api::etag::known_tags;
use crate::store::{StoreError, changes};

/// The tag of what the client has, where nothing has changed since it was given that.
pub(super) async fn current_tag(
    api: &ApiContext,
    headers: &HeaderMap,
    kind: &str,
) -> Result<Option<String>, StoreError> {
    for known in known_tags(headers) {
        if known == "*" {
            let cursor = changes::current_cursor(&mut *api.engine.store().reader().await?).await?;
            return Ok(Some(format!("{kind}.{cursor}")));
        }
        let Some(cursor) = known.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let Ok(cursor) = cursor.parse() else { continue };
        if changes::is_current(&mut *api.engine.store().reader().await?, &cursor).await? {
            return Ok(Some(known.to_owned()));
        }
    }
    Ok(None)
}

/// What the answers to one question of one version of the program have in common.
pub(super) fn query_hash(question: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), question).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
