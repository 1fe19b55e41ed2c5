//! `lifeguard device`: boards, by a server's HTTP interface.

use std::error::Error;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientError, ServerOptions};
use super::output::{json_object, row, text};
use super::told::{came_of_it, full, history, time};
use super::{output, why};
use crate::actions::power_schemes;

/// How many boards are asked for at a time.
const PAGE: u32 = 5000;

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct DeviceOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Register a board
    Add(AddOptions),
    /// List boards
    List {
        /// Only these states, separated by commas; `Failed*` stands for all that begin so
        #[arg(long)]
        state: Option<String>,
        /// Only this type of hardware
        #[arg(long)]
        hardware: Option<String>,
        /// Only this environment
        #[arg(long)]
        environment: Option<String>,
        /// Only boards that have this image on their cards
        #[arg(long)]
        image: Option<String>,
    },
    /// Show a board: where it is, why, until when, and what may happen next
    Show {
        /// The board
        name: String,
    },
    /// Say why boards stand where they stand: what they wait for, until when, what then, and what may be done
    Why {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Reboot boards: cycle their power and wait for their images
    Reboot {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Install an image on boards
    Reimage {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
        /// The image
        #[arg(long)]
        image: String,
        /// A JSON object that the board can fetch while it installs
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        boot_config: Option<Value>,
    },
    /// Boot boards into the self-test image and wait for their verdicts
    SelfTest {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Boot boards into the maintenance image, and leave them there
    Maintenance {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give up what is under way on boards, and remove their boot links
    Cancel {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Keep Lifeguard's hands off boards, whatever they do, until they are unlocked
    LockOut {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
        /// Why, for everybody who finds them locked out
        #[arg(long)]
        reason: String,
        /// Who asks for it
        #[arg(long)]
        by: Option<String>,
    },
    /// End a lock-out
    Unlock {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Move a board by force, if it is where you believe it to be
    Force {
        /// The board
        name: String,
        /// The state that it is in
        #[arg(long)]
        from: String,
        /// The state to enter
        #[arg(long)]
        to: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Show what happened to a board, the newest last
    History {
        /// The board
        name: String,
        /// At most so many entries
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Forget boards; what they still had to do is cancelled
    Remove {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct AddOptions {
    /// Its name
    name: String,
    /// Its MAC address, such as aa:bb:cc:dd:ee:ff
    #[arg(long)]
    mac: String,
    /// Its type of hardware
    #[arg(long)]
    hardware: String,
    /// The host name or address that it answers on [default: its name]
    #[arg(long)]
    fqdn: Option<String>,
    /// Where its power is switched, such as `modbus://relay-3.lab:502/5`; without it a board takes no request that cycles
    /// its power
    #[arg(long, long_help = power_help())]
    power_url: Option<String>,
    /// What answers when it is up: `tcp://HOST:PORT` or `http://HOST:PORT/PATH` [default: it is not polled]
    #[arg(long)]
    poll_url: Option<String>,
    /// Which part of the farm it belongs to
    #[arg(long)]
    environment: Option<String>,
    /// What people should know of it
    #[arg(long)]
    comments: Option<String>,
}

/// What a power URL may be, by all schemes that there are.
fn power_help() -> String {
    let schemes = power_schemes().iter().map(|scheme| format!("\n\n{}", scheme.help()));
    format!(
        "Where its power is switched; without it a board takes no request that cycles its power{}",
        schemes.collect::<String>()
    )
}

pub(super) async fn run(options: DeviceOptions) -> Result<(), Box<dyn Error>> {
    let DeviceOptions { server, command } = options;
    let client = Client::new(&server)?;
    let show = |answer: &Value, text: fn(&Value) -> String| {
        if server.json {
            output::print(&serde_json::to_string_pretty(answer)?)?;
        } else {
            output::print(&text(answer))?;
        }
        Ok::<(), Box<dyn Error>>(())
    };
    let ask = async |request: &str, names: &[String], body: Value| {
        let post = async |name: String| client.post(&["devices", &name, "requests", request], &body).await;
        each(names, server.json, post, came_of_it).await
    };
    match command {
        DeviceCommand::Add(add) => {
            let answer = client.post(&["devices"], &add_body(add)).await?;
            output::warn_of(&answer);
            show(&answer, |answer| {
                format!("{} is registered, {}", text(answer, "name"), text(answer, "state"))
            })
        }
        DeviceCommand::List { state, hardware, environment, image } => {
            let wanted =
                [("state", state), ("hardware", hardware), ("environment", environment), ("image", image)];
            let query = wanted.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            show(&all(&client, query).await?, list)
        }
        DeviceCommand::Show { name } => show(&client.get(&["devices", &name], &[]).await?, full),
        DeviceCommand::Why { names } => {
            let (mut answered, mut refused) = (0, 0);
            for name in &names {
                match client.get(&["devices", name, "why"], &[]).await {
                    Ok(answer) => {
                        if answered > 0 && !server.json {
                            output::print("")?;
                        }
                        answered += 1;
                        show(&answer, why::told)?;
                    }
                    Err(error) => refused += refusal(name, error, names.len())?,
                }
            }
            all_done(refused, names.len())
        }
        DeviceCommand::History { name, limit } => {
            let query = [("limit", limit.to_string())];
            show(&client.get(&["devices", &name, "history"], &query).await?, history)
        }
        DeviceCommand::Reboot { names } => ask("rq-reboot", &names, json!({})).await,
        DeviceCommand::Reimage { names, image, boot_config } => {
            let body = json!({ "image": image, "boot_config": boot_config });
            ask("rq-reimage", &names, body).await
        }
        DeviceCommand::SelfTest { names } => ask("rq-self-test", &names, json!({})).await,
        DeviceCommand::Maintenance { names } => ask("rq-maintenance", &names, json!({})).await,
        DeviceCommand::Cancel { names } => ask("rq-cancel", &names, json!({})).await,
        DeviceCommand::LockOut { names, reason, by } => {
            let mut body = json!({ "reason": reason });
            if let Some(by) = by {
                body["by"] = by.into();
            }
            ask("rq-lock-out", &names, body).await
        }
        DeviceCommand::Unlock { names } => ask("rq-unlock", &names, json!({})).await,
        DeviceCommand::Force { name, from, to, reason } => {
            let body = json!({ "from": from, "to": to, "reason": reason });
            show(&client.post(&["devices", &name, "force"], &body).await?, came_of_it)
        }
        DeviceCommand::Remove { names } => {
            let forget = async |name: String| {
                client.call(Method::DELETE, &["devices", &name], &[], None).await?;
                Ok(json!({ "outcome": "forgotten" }))
            };
            each(&names, server.json, forget, |_| "forgotten".to_owned()).await
        }
    }
}

/// Lists boards, page by page, so that no answer is too long for the patience of a client.
async fn all(client: &Client, query: Vec<(&str, String)>) -> Result<Value, ClientError> {
    let ask = async |after: Option<String>| {
        let more = [("limit", Some(PAGE.to_string())), ("after", after)];
        let more = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
        client.get(&["devices"], &query.iter().cloned().chain(more).collect::<Vec<_>>()).await
    };
    let mut answer = ask(None).await?;
    while let Some(next) = answer["next"].as_str().map(str::to_owned) {
        let mut page = ask(Some(next)).await?;
        if let (Some(devices), Some(more)) =
            (answer["devices"].as_array_mut(), page["devices"].as_array_mut())
        {
            devices.append(more);
        }
        answer["next"] = page["next"].take();
    }
    Ok(answer)
}

/// Does the same to each board; one that is refused does not keep the others waiting.
async fn each(
    names: &[String],
    as_json: bool,
    act: impl AsyncFn(String) -> Result<Value, ClientError>,
    text: fn(&Value) -> String,
) -> Result<(), Box<dyn Error>> {
    let mut refused = 0;
    for name in names {
        match act(name.clone()).await {
            Ok(Value::Object(mut answer)) if as_json => {
                answer.insert("name".to_owned(), Value::from(name.as_str()));
                output::print(&Value::Object(answer).to_string())?;
            }
            Ok(answer) => output::print(&format!("{name}: {}", text(&answer)))?,
            Err(error) => refused += refusal(name, error, names.len())?,
        }
    }
    all_done(refused, names.len())
}

/// Says what was refused for one of `many` boards, and counts it; any other error is the end.
fn refusal(name: &str, error: ClientError, many: usize) -> Result<usize, ClientError> {
    match error {
        ClientError::Refused { .. } | ClientError::BadName(_) if many > 1 => {
            output::complain(&format!("{name}: {error}"));
            Ok(1)
        }
        ClientError::Refused { .. }
        | ClientError::BadName(_)
        | ClientError::NoAnswer { .. }
        | ClientError::NotLifeguard(_)
        | ClientError::BadUrl(_) => Err(error),
    }
}

fn all_done(refused: usize, many: usize) -> Result<(), Box<dyn Error>> {
    if refused == 0 { Ok(()) } else { Err(format!("refused for {refused} of {many} boards").into()) }
}

fn add_body(add: AddOptions) -> Value {
    let AddOptions { name, mac, hardware, fqdn, power_url, poll_url, environment, comments } = add;
    let optional = [
        ("fqdn", fqdn),
        ("power_url", power_url),
        ("poll_url", poll_url),
        ("environment", environment),
        ("comments", comments),
    ];
    let mut body = Map::from_iter([
        ("name".to_owned(), Value::from(name)),
        ("mac".to_owned(), Value::from(mac)),
        ("hardware".to_owned(), Value::from(hardware)),
    ]);
    body.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))));
    Value::Object(body)
}

fn list(answer: &Value) -> String {
    let heading = ["NAME", "STATE", "SINCE", "UNTIL", "IMAGE", "HARDWARE", "ENVIRONMENT", "WHY", "COMMENTS"];
    let mut rows = vec![row(heading.map(str::to_owned))];
    for device in answer["devices"].as_array().into_iter().flatten() {
        rows.push(row([
            text(device, "name"),
            text(device, "state"),
            time(device, "since"),
            time(device, "deadline"),
            text(device, "image"),
            text(device, "hardware"),
            text(device, "environment"),
            output::clipped(&reason(device)),
            output::clipped(&text(device, "comments")),
        ]));
    }
    output::table(&rows)
}

/// What keeps a board from where it should be: how many tries have failed, and the last reason that was given.
fn reason(device: &Value) -> String {
    let tries = device["failed_tries"].as_i64().map(|tries| format!("{tries} × "));
    let locked = device["lock_reason"].as_str().map(|reason| format!("locked out: {reason}"));
    let failure = device["failure"].as_str().map(str::to_owned);
    let reason =
        locked.or(failure).unwrap_or_else(|| if tries.is_some() { "no success" } else { "" }.to_owned());
    tries.unwrap_or_default() + &reason
}
