//! A board of a list, as JSON.
//!
//! This writer exists for its speed: the benchmark's target for the list of all boards is 30 ms, and serde's
//! structures take four times as long to write, mostly because each board's member names are checked for
//! characters to escape. The values are those of [`BoardSummary`], which serde writes for single boards.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::boards::BoardSummary;
use crate::boards::store::lists::{FieldValue, LISTED_FIELDS, ListedBoard};
use crate::machine::Definition;

/// Adds a board to an array that is being written.
pub(super) fn write_board(
    board: &ListedBoard<'_>,
    definition: Option<&Definition>,
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    write_summary(&BoardSummary::of_listed(board, definition), &board.fields, to)
}

fn write_summary(
    board: &BoardSummary<'_>,
    fields: &[FieldValue<'_>],
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    // The buffer is empty once a part has been sent, so that only the bracket that opens the array is followed by no comma.
    if to.last() != Some(&b'[') {
        to.push(b',');
    }
    let BoardSummary {
        name,
        state,
        label,
        since,
        visit,
        deadline_at,
        image,
        next_image,
        failed_tries,
        failure,
        lock_reason,
        problem,
    } = board;
    write_member(to, r#"{"name":"#, name)?;
    write_member(to, r#","state":"#, state)?;
    if let Some(label) = label {
        write_member(to, r#","label":"#, label)?;
    }
    write_member(to, r#","since":"#, &JsonTime(*since))?;
    write_member(to, r#","visit":"#, visit)?;
    write_member(to, r#","deadline":"#, &deadline_at.map(JsonTime))?;
    write_member(to, r#","image":"#, image)?;
    write_member(to, r#","next_image":"#, next_image)?;
    for (field, value) in LISTED_FIELDS.iter().zip(fields) {
        to.extend_from_slice(b",\"");
        to.extend_from_slice(field.name.as_bytes());
        write_member(to, "\":", value)?;
    }
    // Few boards have these.
    if let Some(tries) = failed_tries {
        write_member(to, r#","failed_tries":"#, tries)?;
    }
    for (name, text) in [(r#","failure":"#, failure), (r#","lock_reason":"#, lock_reason)] {
        if let Some(text) = text {
            write_member(to, name, text)?;
        }
    }
    if let Some(problem) = problem {
        write_member(to, r#","problem":"#, problem)?;
    }
    to.push(b'}');
    Ok(())
}

fn write_member(to: &mut Vec<u8>, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
    to.extend_from_slice(name.as_bytes());
    serde_json::to_writer(to, value)
}

/// A time as chrono writes it, in a quarter of the time.
struct JsonTime(DateTime<Utc>);

impl Serialize for JsonTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(time) = *self;
        // The range of humantime: 1970 to 9999.
        if !(0..=253_402_300_799).contains(&time.timestamp()) {
            return time.serialize(serializer);
        }
        let is_multiple_of = |part| time.timestamp_subsec_nanos().is_multiple_of(part);
        let form = if is_multiple_of(1_000_000_000) {
            humantime::format_rfc3339_seconds
        } else if is_multiple_of(1_000_000) {
            humantime::format_rfc3339_millis
        } else if is_multiple_of(1_000) {
            humantime::format_rfc3339_micros
        } else {
            humantime::format_rfc3339_nanos
        };
        serializer.collect_str(&form(time.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_board_is_valid_json_whatever_its_texts_are() {
        let texts = ["", "b-1.lab", "\"\\\u{1}\n\u{2028}</ü€😀", "\u{7f}\t/"];
        let image = serde_json::value::to_raw_value(texts[2]).unwrap();
        let image: Option<&RawValue> = Some(&image);
        let counters = serde_json::value::to_raw_value(&json!({})).unwrap();
        let mut array = b"[".to_vec();
        for text in texts {
            let board = ListedBoard {
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
                fields: LISTED_FIELDS.map(|_| FieldValue::Text(Some(text))),
            };
            write_board(&board, None, &mut array).unwrap();
        }
        array.push(b']');
        let expected = texts.map(|text| {
            let mut board = json!({
                "name": text, "state": text, "since": "1970-01-01T00:00:00Z", "visit": i64::MAX, "deadline": null,
                "image": texts[2], "next_image": null, "failure": text, "lock_reason": text,
                "problem": format!("locked out: {text}"),
            });
            for field in &LISTED_FIELDS {
                board[field.name] = json!(text);
            }
            board
        });
        assert_eq!(serde_json::from_slice::<Value>(&array).unwrap(), json!(expected));
    }

    #[test]
    fn a_time_is_written_as_chrono_writes_it() {
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
                let [written, expected] =
                    [serde_json::to_string(&JsonTime(time)), serde_json::to_string(&time)];
                assert_eq!(written.unwrap(), expected.unwrap());
            }
        }
    }
}
