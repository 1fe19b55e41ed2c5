//! Applying one operation to several boards.

use std::error::Error;

use serde_json::Value;

use crate::cli::api_client::ApiClientError;
use crate::cli::output;
use crate::formatting::count;

/// Applies an operation to each board; a failure of one does not stop the others. `is_bulk` where the board of an error would
/// not be known without its name: there are several, or they were selected.
pub(super) async fn for_each_board(
    (names, is_bulk): (&[String], bool),
    as_json: bool,
    operation: impl AsyncFn(String) -> Result<Value, ApiClientError>,
    text: fn(&Value) -> String,
) -> Result<(), Box<dyn Error>> {
    let mut failed = 0;
    for name in names {
        match operation(name.clone()).await {
            Ok(Value::Object(mut answer)) if as_json => {
                answer.insert("name".to_owned(), Value::from(name.as_str()));
                output::print(&Value::Object(answer).to_string())?;
            }
            Ok(answer) => output::print(&format!("{name}: {}", text(&answer)))?,
            Err(error) => failed += report_failure(name, error, is_bulk)?,
        }
    }
    check_all_done(failed, names.len())
}

/// Prints and counts the failure of a bulk operation for one board, where the server refused it; any other error ends the
/// command.
pub(super) fn report_failure(
    name: &str,
    error: ApiClientError,
    is_bulk: bool,
) -> Result<usize, ApiClientError> {
    match error {
        ApiClientError::Refused { .. } | ApiClientError::BadName(_) if is_bulk => {
            output::complain(&format!("{name}: {error}"));
            Ok(1)
        }
        ApiClientError::Refused { .. }
        | ApiClientError::BadName(_)
        | ApiClientError::NoAnswer { .. }
        | ApiClientError::NotLifeguard(_)
        | ApiClientError::BadUrl(_) => Err(error),
    }
}

/// Returns the result of a command for this number of boards.
///
/// # Errors
///
/// When it failed for some.
pub(super) fn check_all_done(failed: usize, boards: usize) -> Result<(), Box<dyn Error>> {
    if failed == 0 {
        Ok(())
    } else {
        Err(format!("failed for {failed} of {}", count(boards, "board")).into())
    }
}
