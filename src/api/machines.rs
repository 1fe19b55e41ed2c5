//! Machine definitions: which are in force, and putting another one in force.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{DefinitionText, Parameters, Sender, tagged};
use super::connections::Client;
use super::fair::FairSemaphore;
use super::large::{LONGEST_TURN, Place};
use super::problem::fault;
use super::{Api, Problem};
use crate::action::ACTIONS;
use crate::csp;
use crate::engine::replay::{self, ReplayError, Replayed, Wanted};
use crate::engine::{Adopted, CarriedOver, EngineError, Loaded, Provenance, Replacement};
use crate::machine::{self, Checked, Definition, Difference, Fault, MachineName, Rearm};
use crate::store::definitions;

/// What a browser lets the picture do: it has one style sheet of its own.
static DIAGRAM_POLICY: LazyLock<String> = LazyLock::new(|| csp::with_styles(&[machine::DIAGRAM_STYLE]));
/// As many checks at once as there are processors would leave nothing for the boards.
static ONE_CHECK: LazyLock<FairSemaphore> = LazyLock::new(|| FairSemaphore::new(1));
/// Each replay holds one of the few snapshots for as long as it takes to read all of history, and lists need them too.
static ONE_REPLAY: LazyLock<FairSemaphore> = LazyLock::new(|| FairSemaphore::new(1));

/// How many stranded instances an answer names.
const MOST_NAMED: usize = 1000;

/// A definition, and when it came into force.
#[derive(Debug, Serialize)]
struct View {
    machine: String,
    number: i32,
    digest: String,
    since: chrono::DateTime<chrono::Utc>,
    origin: String,
    sender: Option<String>,
}

impl From<Adopted> for View {
    fn from(adopted: Adopted) -> Self {
        let Adopted { machine, number, digest, at, origin, sender, first_history: _ } = adopted;
        Self { machine: machine.to_string(), number, digest, since: at, origin, sender }
    }
}

/// `GET /api/v1/machines`: the definitions in force.
pub(super) async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let in_force = definitions::read_in_force(&mut *api.engine.store().reader().await?).await?;
    let machines: Vec<View> = in_force.definitions.into_iter().map(View::from).collect();
    Ok(tagged(&headers, &json!({ "machines": machines })))
}

/// `GET /api/v1/machines/{machine}`: the definition in force, and all that were, the oldest first.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| no_machine(&machine))?;
    let adopted = definitions::list(&mut *api.engine.store().reader().await?, &name).await?;
    let present = adopted.last().cloned().map(View::from).ok_or_else(|| no_machine(&machine))?;
    let history: Vec<View> = adopted.into_iter().map(View::from).collect();
    Ok(tagged(&headers, &json!({ "in_force": present, "history": history })))
}

/// `GET /api/v1/machines/{machine}/definitions/{number}`: a definition's text, as it was loaded.
pub(super) async fn text(
    State(api): State<Arc<Api>>,
    Path((machine, number)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| no_machine(&machine))?;
    let source = match number.parse() {
        Ok(number) => {
            definitions::read_source(&mut *api.engine.store().reader().await?, &name, number).await?
        }
        Err(_) => None,
    };
    let none = || {
        let detail = format!("the machine {machine:?} has no definition {number:?}");
        Problem::new(StatusCode::NOT_FOUND, "no_definition", detail)
    };
    Ok(([(header::CONTENT_TYPE, "application/yaml")], source.ok_or_else(none)?).into_response())
}

/// Whose picture is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// The board whose state is lit; without one, the picture says how many boards are in each state.
    device: Option<String>,
}

/// `GET /api/v1/machines/{machine}/diagram.svg?device=`: the definition in force as a picture, with the state of one board
/// lit, or with the number of instances in each state.
pub(super) async fn diagram(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(Whose { device }): Parameters<Whose>,
) -> Result<Response, Problem> {
    let name = MachineName::new(&machine).map_err(|_| no_machine(&machine))?;
    let picture = match api.engine.picture(&name, device.as_deref()).await {
        Err(EngineError::NoMachine(_)) => return Err(no_machine(&machine)),
        picture => picture?,
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, DIAGRAM_POLICY.as_str()),
    ];
    Ok((headers, picture).into_response())
}

/// What is done at `/api/v1/machines/check`: definitions are checked, and a machine may be called so.
pub(super) fn of_check() -> MethodRouter<Arc<Api>> {
    let path = || Path("check".to_owned());
    post(check).get(move |api: State<Arc<Api>>, headers: HeaderMap| show(api, path(), headers)).put(
        move |api: State<Arc<Api>>,
              how: Parameters<How>,
              sender: Sender,
              client: Client,
              text: DefinitionText| { put(api, path(), how, sender, client, text) },
    )
}

/// `POST /api/v1/machines/check`: says what is wrong with a definition, which is the body; nothing is kept.
pub(super) async fn check(
    client: Client,
    DefinitionText { text, place }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let (Checked { definition, faults }, _) = check_aside(text, client, &place).await?;
    let machine = definition.as_ref().map(|definition| &definition.machine);
    Ok(Json(json!({ "ok": definition.is_some(), "machine": machine, "faults": faults })))
}

/// What may be said of a definition that is to be put in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Only say what it would do.
    #[serde(default)]
    dry_run: bool,
}

/// `PUT /api/v1/machines/{machine}`: puts the definition that is the body in force, for all servers at one moment; with
/// `?dry_run=true` it only says what that would do.
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(How { dry_run }): Parameters<How>,
    Sender(sender): Sender,
    client: Client,
    DefinitionText { text, place }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let (definition, source) = read(&machine, text, client, &place).await?;
    let loaded = Loaded { source, definition: Arc::new(definition), from: Provenance::Loaded };
    if dry_run {
        return Ok(Json(replacement(&api.engine.try_out(&loaded).await?, false)));
    }
    match api.engine.adopt(&loaded, sender.as_deref()).await {
        Ok(done) => Ok(Json(replacement(&done, true))),
        Err(error @ EngineError::Strands { .. }) => {
            let EngineError::Strands { stranded, .. } = &error else { return Err(error.into()) };
            let named: Vec<Value> = stranded.iter().take(MOST_NAMED).map(stranded_one).collect();
            let problem = Problem::new(StatusCode::CONFLICT, "strands", error.to_string());
            Err(problem.with("stranded", named).with("instances", stranded.len()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The definition of `machine` that is in `source`, and the text again.
async fn read(
    machine: &str,
    source: String,
    client: Client,
    place: &Place,
) -> Result<(Definition, String), Problem> {
    let (checked, source) = check_aside(source, client, place).await?;
    let faults = match checked {
        Checked { definition: Some(definition), .. } if definition.machine.as_str() == machine => {
            return Ok((definition, source));
        }
        Checked { definition: Some(definition), .. } => {
            let detail = format!("this defines the machine {}, not {machine:?}", definition.machine);
            return Err(Problem::invalid(detail));
        }
        Checked { definition: None, faults } => faults,
    };
    let errors: Vec<Fault> = faults.into_iter().filter(Fault::is_error).collect();
    let lines: Vec<String> = errors.iter().map(|fault| fault.display("definition").to_string()).collect();
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_definition", lines.join("\n"));
    Err(problem.with("faults", errors))
}

/// Checks a definition, and gives the text back. A large one takes a while, and other requests are not to wait for it.
async fn check_aside(source: String, client: Client, place: &Place) -> Result<(Checked, String), Problem> {
    let turn = ONE_CHECK.acquire(client, LONGEST_TURN, "definitions").await?;
    let place = place.clone();
    let checked = tokio::task::spawn_blocking(move || {
        // Until it is done, also when the client has gone.
        let _kept = (turn, place);
        (machine::check(&source, ACTIONS), source)
    });
    checked.await.map_err(|error| fault(&error))
}

/// What is to be replayed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct What {
    /// Only this instance's history.
    device: Option<String>,
    /// Only from then on.
    since: Option<chrono::DateTime<chrono::Utc>>,
}

/// `POST /api/v1/machines/{machine}/replay?device=&since=`: puts history through the kernel again. It must give what is
/// stored; with a definition as the body it also says what would have gone differently under that.
pub(super) async fn replay(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(What { device, since }): Parameters<What>,
    client: Client,
    DefinitionText { text, place }: DefinitionText,
) -> Result<Json<Replayed>, Problem> {
    let name = MachineName::new(&machine).map_err(|_| no_machine(&machine))?;
    if device.as_ref().is_some_and(|name| name.contains('\0')) {
        return Err(Problem::invalid("device: a name has no character U+0000"));
    }
    let with = if text.trim().is_empty() {
        None
    } else {
        Some(Arc::new(read(&machine, text, client, &place).await?.0))
    };
    let _turn = ONE_REPLAY.acquire(client, LONGEST_TURN, "replays").await?;
    let _snapshot = api.snapshot_permit(client).await?;
    let wanted = Wanted { machine: name, name: device, since, with };
    match replay::replay(api.engine.store(), &wanted).await {
        Ok(replayed) => Ok(Json(replayed)),
        Err(error @ ReplayError::NoInstance { .. }) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "no_instance", error.to_string()))
        }
        Err(error @ ReplayError::Unreadable { .. }) => {
            Err(Problem::new(StatusCode::CONFLICT, "unreadable_definition", error.to_string()))
        }
        Err(ReplayError::Store(error)) => Err(error.into()),
    }
}

fn stranded_one(one: &crate::engine::Stranded) -> Value {
    json!({ "name": one.name, "state": one.state })
}

fn replacement(replacement: &Replacement, is_done: bool) -> Value {
    let Replacement { machine, was, number, digest, difference, carried, stranded } = replacement;
    let is_same = was.as_ref().is_some_and(|was| was.digest == *digest);
    let none = Difference::default();
    json!({
        "machine": machine,
        "number": number,
        "digest": digest,
        "was": was.as_ref().map(|was| was.number),
        "in_force": is_done || is_same,
        "changed": is_done && !is_same,
        "difference": difference.as_ref().unwrap_or(&none),
        "carried_over": carried.iter().map(carried_over).collect::<Vec<_>>(),
        "stranded": stranded.iter().take(MOST_NAMED).map(stranded_one).collect::<Vec<_>>(),
        "stranded_instances": stranded.len(),
    })
}

fn carried_over(one: &CarriedOver) -> Value {
    let deadline = match one.carried.deadline {
        Rearm::Keep => "stays".to_owned(),
        Rearm::Disarm => "ends".to_owned(),
        Rearm::At(at) => format!("is at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        Rearm::Shift(by) => {
            let span = humantime::format_duration(by.abs().to_std().unwrap_or_default());
            format!("is {span} {}", if by < chrono::TimeDelta::zero() { "earlier" } else { "later" })
        }
        Rearm::Arm(after) => {
            format!("runs from now: {}", humantime::format_duration(after.to_std().unwrap_or_default()))
        }
    };
    json!({ "state": one.state, "to": one.carried.to, "instances": one.instances, "deadline": deadline })
}

fn no_machine(machine: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_machine", format!("there is no machine {machine:?}"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::{FromRequest, Request};
    use futures_util::FutureExt;

    use super::*;

    fn client(number: u8) -> Client {
        Client::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn one_definition_is_checked_at_a_time() {
        let acquire = |number| Box::pin(ONE_CHECK.acquire(client(number), LONGEST_TURN, "tests"));
        let held = acquire(1).await.unwrap();
        let request = Request::new(Body::from("no definition"));
        let definition = DefinitionText::from_request(request, &()).await.unwrap();
        let mut checked = Box::pin(check(client(2), definition));
        assert!(checked.as_mut().now_or_never().is_none());
        let mut next = acquire(3);
        assert!(next.as_mut().now_or_never().is_none());
        drop(held);
        assert!(next.as_mut().now_or_never().is_none(), "the check is queued before it");
        let Json(answer) = checked.await.unwrap();
        assert_eq!(answer["ok"], json!(false));
        assert!(next.now_or_never().unwrap().is_ok(), "the check is done");
    }

    #[tokio::test]
    async fn one_history_is_replayed_at_a_time() {
        let acquire = |number| ONE_REPLAY.acquire(client(number), LONGEST_TURN, "tests");
        let held = acquire(1).await.unwrap();
        assert!(acquire(2).now_or_never().is_none());
        drop(held);
        assert!(acquire(2).now_or_never().is_some());
    }
}
