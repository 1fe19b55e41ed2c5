//! Reasons of running actions: why they make no progress.

use sqlx::postgres::PgConnection;

use super::super::StoreError;
use super::action::ActionId;

/// Lists the reasons of the running ones among `actions`; `None` for actions that make progress.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_reasons(
    db: &mut PgConnection,
    actions: &[ActionId],
) -> Result<Vec<(ActionId, Option<String>)>, StoreError> {
    let ids: Vec<i64> = actions.iter().map(|action| action.0).collect();
    let rows = sqlx::query_as!(
        ReasonRow,
        "SELECT action_id, reason FROM action WHERE action_id = ANY($1) AND status = 'RUNNING'",
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (ActionId(row.action_id), row.reason)).collect())
}

struct ReasonRow {
    action_id: i64,
    reason: Option<String>,
}

/// Sets or clears the reasons why running actions make no progress.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn set_reasons(
    db: &mut PgConnection,
    reasons: &[(ActionId, Option<&str>)],
) -> Result<(), StoreError> {
    let (ids, texts): (Vec<i64>, Vec<Option<&str>>) =
        reasons.iter().map(|(action, reason)| (action.0, *reason)).unzip();
    sqlx::query!(
        "WITH updated AS (
             SELECT a.action_id, n.reason
               FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS reason) n
               JOIN action a ON a.action_id = n.id
              WHERE a.status = 'RUNNING'
              ORDER BY a.action_id FOR UPDATE OF a
         )
         UPDATE action a SET reason = u.reason FROM updated u WHERE a.action_id = u.action_id",
        &ids,
        &texts as _,
    )
    .execute(db)
    .await?;
    Ok(())
}
