//! Entity tags of lists: `KIND.CURSOR`, so that 304 is answered without reading any board.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::HeaderMap;

use crate::api::context::ApiContext;
use crate::api::etag::KnownTags;
use crate::store::{StoreError, changes};

/// The tag of the answer that the client has, where nothing has changed since.
pub(super) async fn current_tag(
    api: &ApiContext,
    headers: &HeaderMap,
    kind: &str,
) -> Result<Option<String>, StoreError> {
    let known = KnownTags::of(headers);
    let prefix = format!("{kind}.");
    if known.is_any() {
        let cursor = changes::current_cursor(&mut *api.engine.store().reader().await?).await?;
        return Ok(Some(prefix + &cursor.to_string()));
    }
    for tag in known.with_prefix(&prefix) {
        let Some(Ok(cursor)) = tag.strip_prefix(&prefix).map(str::parse) else { continue };
        if changes::is_current(&mut *api.engine.store().reader().await?, &cursor).await? {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}

/// The kind of the tags of one query, by one version of the program.
pub(super) fn query_hash(query: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), query).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
