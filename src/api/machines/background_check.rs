//! Definitions of requests are checked one at a time, in the background.

use std::sync::{Arc, LazyLock};

use axum::http::StatusCode;

use crate::api::client::ClientKey;
use crate::api::fair_semaphore::FairSemaphore;
use crate::api::large_requests::{LargeRequestPermit, PERMIT_TIMEOUT};
use crate::api::problem::{Problem, internal_error};
use crate::machine::{self, CheckReport, Definition, SourceFault, Vocabulary};

/// As many checks at once as there are processors would leave nothing for the boards.
pub(super) static CHECK_PERMIT: LazyLock<FairSemaphore> = LazyLock::new(|| FairSemaphore::new(1));

/// The definition of `machine` that is in `source`, and the text again.
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

/// Checks a definition, and gives the text back. A large one takes a while, and other requests are not to wait for it.
pub(super) async fn check_in_background(
    vocabulary: &Arc<Vocabulary>,
    source: String,
    client: ClientKey,
    permit: &LargeRequestPermit,
) -> Result<(CheckReport, String), Problem> {
    let turn = CHECK_PERMIT.acquire(client, PERMIT_TIMEOUT, "definitions").await?;
    let (permit, vocabulary) = (permit.clone(), Arc::clone(vocabulary));
    let checked = tokio::task::spawn_blocking(move || {
        // Until it is done, also when the client has gone.
        let _held = (turn, permit);
        (machine::check(&source, &vocabulary), source)
    });
    checked.await.map_err(|error| internal_error(&error))
}
