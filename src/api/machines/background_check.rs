//! Checks definitions of requests one at a time, in the background.

use std::sync::{Arc, LazyLock};

use axum::http::StatusCode;

use crate::api::client::ClientKey;
use crate::api::fair_semaphore::FairSemaphore;
use crate::api::large_requests::{LargeRequestPermit, PERMIT_TIMEOUT};
use crate::api::problem::{Problem, internal_error};
use crate::machine::{self, CheckReport, Definition, SourceFault, Vocabulary};

/// One check at a time: as many as there are processors would delay the events of boards.
pub(super) static CHECK_PERMIT: LazyLock<FairSemaphore> = LazyLock::new(|| FairSemaphore::new(1));

/// Reads the definition of `machine` in `source`, and returns it with the text.
pub(super) async fn read_definition(
    vocabulary: &Arc<Vocabulary>,
    machine: &str,
    source: String,
    client: ClientKey,
    permit: &LargeRequestPermit,
) -> Result<(Definition, String), Problem> {
    let (checked, source) = check_in_background(vocabulary, source, client, permit).await?;
    let faults = match checked {
        CheckReport { definition: Some(definition), .. } if definition.machine.as_str() == machine => {
            return Ok((definition, source));
        }
        CheckReport { definition: Some(definition), .. } => {
            let detail = format!("this defines the machine {}, not {machine:?}", definition.machine);
            return Err(Problem::invalid(detail));
        }
        CheckReport { definition: None, faults } => faults,
    };
    let errors: Vec<SourceFault> = faults.into_iter().filter(SourceFault::is_error).collect();
    let lines: Vec<String> = errors.iter().map(|fault| fault.display("definition").to_string()).collect();
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_definition", lines.join("\n"));
    Err(problem.with("faults", errors))
}

/// Checks a definition on another thread, so that a large one does not delay other requests. The text is returned.
pub(super) async fn check_in_background(
    vocabulary: &Arc<Vocabulary>,
    source: String,
    client: ClientKey,
    permit: &LargeRequestPermit,
) -> Result<(CheckReport, String), Problem> {
    let check_permit = CHECK_PERMIT.acquire(client, PERMIT_TIMEOUT, "definitions").await?;
    let (permit, vocabulary) = (permit.clone(), Arc::clone(vocabulary));
    let checked = tokio::task::spawn_blocking(move || {
        // The permits are held until the check is done, even after the client has disconnected.
        let _held = (check_permit, permit);
        (machine::check(&source, &vocabulary), source)
    });
    checked.await.map_err(|error| internal_error(&error))
}
