//! A board of a list, as JSON.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::boards::store::lists::{BoardSummary, LISTED_FIELDS};
use crate::machine::Definition;

/// Adds a board to an array that is being written. Member by member, because lists are long: serde's structures take four
/// times as long, mostly to see again and again that the names of members need no escape.
pub(super) fn write_board(
    board: &BoardSummary<'_>,
    definition: Option<&Definition>,
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    // What was written before was sent, perhaps: only the array's beginning is sure to be followed by no comma.
    if to.last() != Some(&b'[') {
        to.push(b',');
    }
    let BoardSummary {
        name,
        state,
        visit,
        since,
        deadline_at,
        image,
        next_image,
        counters,
        failure,
        lock_reason,
        known,
    } = board;
    write_member(to, r#"{"name":"#, name)?;
    write_member(to, r#","state":"#, state)?;
    write_member(to, r#","since":"#, &JsonTime(*since))?;
    write_member(to, r#","visit":"#, visit)?;
    write_member(to, r#","deadline":"#, &deadline_at.map(JsonTime))?;
    write_member(to, r#","image":"#, image)?;
    write_member(to, r#","next_image":"#, next_image)?;
    for (field, known) in LISTED_FIELDS.iter().zip(known) {
        to.extend_from_slice(b",\"");
        to.extend_from_slice(field.name.as_bytes());
        write_member(to, "\":", known)?;
    }
    // Few boards have these, and lists are long.
    if let Some(tries) = failed_tries(definition, state, counters) {
        write_member(to, r#","failed_tries":"#, &tries)?;
    }
    for (name, text) in [(r#","failure":"#, failure), (r#","lock_reason":"#, lock_reason)] {
        if let Some(text) = text {
            write_member(to, name, text)?;
        }
    }
    to.push(b'}');
    Ok(())
}

/// How often the time limit of the board's state has passed without success.
fn failed_tries(definition: Option<&Definition>, state: &str, counters: &RawValue) -> Option<i64> {
    match definition {
        Some(definition) if counters.get() != "{}" => {
            // A board whose counters cannot be read is listed without them.
            serde_json::from_str(counters.get())
                .ok()
                .and_then(|counters| definition.failed_tries(state, &counters))
        }
        _ => None,
    }
}

fn write_member(to: &mut Vec<u8>, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
    to.extend_from_slice(name.as_bytes());
    serde_json::to_writer(to, value)
}

/// A time in the form that chrono gives it, for which that takes four times as long.
struct JsonTime(DateTime<Utc>);

impl Serialize for JsonTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(time) = *self;
        // What humantime can tell.
        if !(0..=253_402_300_799).contains(&time.timestamp()) {
            return time.serialize(serializer);
        }
        let is_whole = |part| time.timestamp_subsec_nanos().is_multiple_of(part);
        let form = if is_whole(1_000_000_000) {
            humantime::format_rfc3339_seconds
        } else if is_whole(1_000_000) {
            humantime::format_rfc3339_millis
        } else if is_whole(1_000) {
            humantime::format_rfc3339_micros
        } else {
            humantime::format_rfc3339_nanos
        };
        serializer.collect_str(&form(time.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::boards::store::lists::FieldValue;

    #[test]
    fn boards_are_json_whatever_they_are_called() {
        let texts = ["", "b-1.lab", "\"\\\u{1}\n\u{2028}</ü€😀", "\u{7f}\t/"];
        let image = serde_json::value::to_raw_value(texts[2]).unwrap();
        let image: Option<&RawValue> = Some(&image);
        let counters = serde_json::value::to_raw_value(&json!({})).unwrap();
        let mut array = b"[".to_vec();
        for text in texts {
            let shown = BoardSummary {
                name: text,
                state: text,
                visit: i64::MAX,
                since: DateTime::UNIX_EPOCH,
                deadline_at: None,
                image,
                next_image: None,
                counters: &counters,
                failure: Some(text),
                lock_reason: Some(text),
                known: LISTED_FIELDS.map(|_| FieldValue::Text(Some(text))),
            };
            write_board(&shown, None, &mut array).unwrap();
        }
        array.push(b']');
        let expected = texts.map(|text| {
            let mut board = json!({
                "name": text, "state": text, "since": "1970-01-01T00:00:00Z", "visit": i64::MAX, "deadline": null,
                "image": texts[2], "next_image": null, "failure": text, "lock_reason": text,
            });
            for field in &LISTED_FIELDS {
                board[field.name] = json!(text);
            }
            board
        });
        assert_eq!(serde_json::from_slice::<Value>(&array).unwrap(), json!(expected));
    }

    #[test]
    fn a_time_is_told_as_elsewhere() {
        for ns in [0, 1, 1_000, 999_999, 1_000_000, 120_000_000, 123_456_000, 123_456_789, 999_999_999] {
            for second in [
                i64::MIN / 1_000_000,
                -62_135_596_801,
                -1,
                0,
                1_767_225_599,
                253_402_300_799,
                253_402_300_800,
            ] {
                let Some(time) = DateTime::from_timestamp(second, ns) else { continue };
                let [told, expected] = [serde_json::to_string(&JsonTime(time)), serde_json::to_string(&time)];
                assert_eq!(told.unwrap(), expected.unwrap());
            }
        }
    }
}
