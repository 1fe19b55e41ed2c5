//! Appending an entry.

use super::columns::HistoryColumns;
use super::entry::NewHistoryEntry;
use crate::store::{StoreError, Tx};

/// Appends an entry.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn append(tx: &mut Tx, entry: &NewHistoryEntry) -> Result<(), StoreError> {
    let mut rows = HistoryColumns::default();
    rows.push(entry);
    sqlx::query!(
        "INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome, event, source,
                              sender, reason, args, facts, evidence, predicted)
         SELECT $1, unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::text[]),
                unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]),
                unnest($11::text[]), unnest($12::text[]), unnest($13::jsonb[]), unnest($14::jsonb[]),
                unnest($15::jsonb[]), unnest($16::jsonb[])",
        entry.at,
        &rows.instances,
        &rows.visits,
        rows.spoken_visits.as_slice() as _,
        &rows.kinds as _,
        &rows.from_states as _,
        rows.to_states.as_slice() as _,
        rows.outcomes.as_slice() as _,
        rows.events.as_slice() as _,
        rows.sources.as_slice() as _,
        rows.senders.as_slice() as _,
        rows.reasons.as_slice() as _,
        rows.args.as_slice() as _,
        rows.facts.as_slice() as _,
        rows.evidence.as_slice() as _,
        rows.predicted.as_slice() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
