//! `lifeguard instance`: instances of any machine of a server.

use std::collections::BTreeMap;
use std::error::Error;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiClientError, ServerOptions};
use super::describe::{add_labels, describe_history, describe_instance, describe_outcome, local_time};
use super::output::{self, json_object, row, text};
use super::serve::{BOARD_MACHINE, number_from};
use super::why;

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct InstanceOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: InstanceCommand,
}

/// The machine and the name of an instance.
#[derive(Debug, Args)]
struct InstanceArgs {
    /// The machine
    machine: String,
    /// The instance
    name: String,
}

#[derive(Debug, Subcommand)]
enum InstanceCommand {
    /// Create an instance in its machine's initial state; one that exists is not changed
    Create {
        #[command(flatten)]
        which: InstanceArgs,
        /// An instance to link it to: the name of the link in its machine, and the instance; may be given several times
        #[arg(long = "link", value_name = "LINK=NAME", value_parser = parse_link)]
        links: Vec<(String, String)>,
    },
    /// List a machine's instances
    List {
        /// The machine
        machine: String,
    },
    /// Show an instance: its state, its deadline, what it waits for, and which requests it accepts
    Show(InstanceArgs),
    /// Send an event to an instance
    Send {
        #[command(flatten)]
        which: InstanceArgs,
        /// The event
        event: String,
        /// Its arguments, a JSON object
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        args: Option<Value>,
    },
    /// Explain why an instance is in its state: what it waits for, its deadline, what happens then, and which requests it accepts
    Why(InstanceArgs),
    /// Show the history of an instance, the newest entry first
    History {
        #[command(flatten)]
        which: InstanceArgs,
        /// The maximum number of entries
        #[arg(long, default_value_t = 50, value_parser = |text: &str| number_from(text, 1_u32))]
        limit: u32,
    },
    /// Move an instance to another state by force, if it is in the state that you expect
    Force {
        #[command(flatten)]
        which: InstanceArgs,
        /// The state that you expect it to be in
        #[arg(long)]
        from: String,
        /// The state to enter
        #[arg(long)]
        to: String,
        /// The reason, for the history
        #[arg(long)]
        reason: String,
    },
    /// Remove an instance; its history is kept
    Remove(InstanceArgs),
}

impl InstanceCommand {
    /// The instance that it changes; nothing where it only shows something.
    fn changed(&self) -> Option<&InstanceArgs> {
        match self {
            Self::Create { which, .. }
            | Self::Send { which, .. }
            | Self::Force { which, .. }
            | Self::Remove(which) => Some(which),
            Self::List { .. } | Self::Show(_) | Self::Why(_) | Self::History { .. } => None,
        }
    }
}

pub(super) async fn run(options: InstanceOptions) -> Result<(), Box<dyn Error>> {
    let InstanceOptions { server, command } = options;
    if command.changed().is_some_and(|which| which.machine == BOARD_MACHINE) {
        return Err(format!("instances of `{BOARD_MACHINE}` are boards: use `lifeguard device`").into());
    }
    let client = ApiClient::new(&server)?;
    let call =
        async |method: Method, which: &InstanceArgs, more: &[&str], query: &[_], body: Option<&Value>| {
            let path: Vec<&str> =
                ["machines", &which.machine, &which.name].iter().chain(more).copied().collect();
            client.call(method, &path, query, body).await
        };
    let described = |answer: Value, describe: fn(&Value) -> String| {
        let text = describe(&answer);
        (answer, text)
    };
    let changed = |answer: Value, InstanceArgs { machine, name }: &InstanceArgs| {
        let text = format!("{machine} {name}: {}", describe_outcome(&answer));
        (answer, text)
    };
    let (answer, text) = match command {
        InstanceCommand::Create { which, links } => {
            let links = distinct_links(links)?;
            let body = (!links.is_empty()).then(|| json!({ "links": links }));
            described(call(Method::PUT, &which, &[], &[], body.as_ref()).await?, created)
        }
        InstanceCommand::List { machine } => described(list_all(&client, &machine).await?, instance_table),
        InstanceCommand::Show(which) => {
            described(call(Method::GET, &which, &[], &[], None).await?, describe_instance)
        }
        InstanceCommand::Send { which, event, args } => {
            let args = args.unwrap_or_else(|| json!({}));
            changed(call(Method::POST, &which, &["events", &event], &[], Some(&args)).await?, &which)
        }
        InstanceCommand::Why(which) => {
            described(call(Method::GET, &which, &["why"], &[], None).await?, why::describe)
        }
        InstanceCommand::History { which, limit } => {
            let query = [("limit", limit.to_string())];
            described(call(Method::GET, &which, &["history"], &query, None).await?, describe_history)
        }
        InstanceCommand::Force { which, from, to, reason } => {
            let body = json!({ "from": from, "to": to, "reason": reason });
            changed(call(Method::POST, &which, &["force"], &[], Some(&body)).await?, &which)
        }
        InstanceCommand::Remove(which) => {
            call(Method::DELETE, &which, &[], &[], None).await?;
            let removed = json!({ "machine": which.machine, "name": which.name, "outcome": "removed" });
            changed(removed, &which)
        }
    };
    let printed = if server.json { serde_json::to_string_pretty(&answer)? } else { text };
    Ok(output::print(&printed)?)
}

/// The links by name; an error if one is given twice.
fn distinct_links(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut links = BTreeMap::new();
    for (link, name) in given {
        if links.contains_key(&link) {
            return Err(format!("--link {link} is given twice; a link leads to one instance"));
        }
        links.insert(link, name);
    }
    Ok(links)
}

/// Reads `LINK=NAME`.
fn parse_link(text: &str) -> Result<(String, String), String> {
    let (link, name) = text.split_once('=').ok_or("LINK=NAME is needed, such as board=b1")?;
    Ok((link.to_owned(), name.to_owned()))
}

fn created(answer: &Value) -> String {
    let [machine, name, state] = ["machine", "name", "state"].map(|key| text(answer, key));
    let already = if answer["created"] == Value::Bool(false) { " (it exists already)" } else { "" };
    format!("{machine} {name}: {state}{already}")
}

/// Lists a machine's instances, page by page.
async fn list_all(client: &ApiClient, machine: &str) -> Result<Value, ApiClientError> {
    let mut instances = Vec::new();
    let mut after = String::new();
    loop {
        let query = [("after", std::mem::take(&mut after))];
        let mut page = client.call(Method::GET, &["machines", machine, "instances"], &query, None).await?;
        if let Value::Array(more) = page["instances"].take() {
            instances.extend(more);
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(json!({ "instances": instances })),
        }
    }
}

fn instance_table(answer: &Value) -> String {
    let listed = answer["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows = vec![row(["NAME", "STATE", "SINCE", "DEADLINE", "VISIT"].map(str::to_owned))];
    rows.extend(listed.iter().map(|instance| {
        row([
            text(instance, "name"),
            text(instance, "state"),
            local_time(instance, "since"),
            local_time(instance, "deadline"),
            text(instance, "visit"),
        ])
    }));
    add_labels(&mut rows, listed);
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_given_twice() {
        let given = |links: [&str; 2]| distinct_links(links.map(|link| parse_link(link).unwrap()).to_vec());
        assert_eq!(given(["a=t1", "b=t1"]).unwrap().len(), 2);
        assert_eq!(
            given(["a=t1", "a=t2"]).unwrap_err(),
            "--link a is given twice; a link leads to one instance"
        );
    }
}
