//! `lifeguard machine check`: the faults of definitions, with their positions.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::{faces, output};
use super::{file, rules};
use crate::actions::{NotifyPolicy, PowerSettings, describe_kind};
use crate::formatting::count;
use crate::machine::{self, ActionCatalogue as _, CheckReport, Definition, LinkFault, Rule, nearest};

/// Options of `lifeguard machine check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    /// The definitions; `-` is standard input
    #[arg(required_unless_present = "explain", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print the faults as JSON
    #[arg(long)]
    json: bool,

    /// Explain a rule, or an action and its settings, instead; `list` lists all
    #[arg(long, value_name = "RULE|ACTION")]
    explain: Option<String>,
}

/// A file, and its faults.
struct CheckedFile {
    file: String,
    checked: CheckReport,
    /// Faults of its links to the other checked definitions.
    links: Vec<LinkFault>,
}

/// Checks the files. Exit code 0: no errors; 1: errors; 2: a file cannot be read.
pub(super) fn run(options: &CheckOptions) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(what) = &options.explain {
        return explain(what);
    }
    let mut worst = 0;
    let mut all: Vec<CheckedFile> = Vec::new();
    for path in &options.files {
        match read(path) {
            Err(error) => {
                output::complain(&error.to_string());
                worst = 2;
            }
            Ok(found) => {
                worst = worst.max(u8::from(found.checked.definition.is_none()));
                all.push(found);
            }
        }
    }
    check_links(&mut all);
    worst = worst.max(u8::from(all.iter().flat_map(|found| &found.links).any(is_error)));
    if options.json {
        output::print(&format!("{:#}", all.iter().map(CheckedFile::to_json).collect::<serde_json::Value>()))?;
    } else {
        for found in &all {
            output::print(&found.to_text())?;
        }
    }
    Ok(ExitCode::from(worst))
}

fn read(path: &Path) -> Result<CheckedFile, Box<dyn Error>> {
    let text = file::read(path)?;
    let checked = machine::check(&text, faces::vocabulary());
    Ok(CheckedFile { file: file::name(path), checked, links: Vec::new() })
}

/// Checks linked machines, and machines that hold the same resources, together.
fn check_links(all: &mut [CheckedFile]) {
    let definitions: Vec<&Definition> =
        all.iter().filter_map(|found| found.checked.definition.as_ref()).collect();
    for fault in machine::check_linked(&definitions) {
        let machine = match &fault {
            LinkFault::NoMachine { machine, .. }
            | LinkFault::NotDeclared { machine, .. }
            | LinkFault::MissingArgument { machine, .. }
            | LinkFault::OtherLimits { machine, .. } => Some(machine),
            LinkFault::Endless(circle) => circle.first().map(|(machine, _)| machine),
            LinkFault::HoldOrder(circle) => circle.first().map(|wait| &wait.machine),
        };
        let is_of_machine = |found: &&mut CheckedFile| {
            found.checked.definition.as_ref().map(|definition| &definition.machine) == machine
        };
        if let Some(found) = all.iter_mut().find(is_of_machine) {
            found.links.push(fault);
        }
    }
}

/// Whether a fault is an error. A machine that is not among the files may be on the server.
fn is_error(fault: &LinkFault) -> bool {
    !matches!(fault, LinkFault::NoMachine { .. })
}

impl CheckedFile {
    fn to_text(&self) -> String {
        let Self { file, checked: CheckReport { definition, faults }, links } = self;
        let mut lines: Vec<String> = faults.iter().map(|fault| fault.display(file).to_string()).collect();
        let severity = |fault| if is_error(fault) { "error" } else { "warning" };
        lines.extend(links.iter().map(|fault| format!("{file}: {}[links]: {fault}", severity(fault))));
        if let Some(definition) = definition
            && !links.iter().any(is_error)
        {
            let states = count(definition.states.len(), "state");
            let events = count(definition.events.len(), "event");
            let machine = &definition.machine;
            lines.push(format!("{file}: machine {machine}: no errors; {states}, {events}"));
        }
        lines.join("\n")
    }

    fn to_json(&self) -> serde_json::Value {
        let Self { file, checked: CheckReport { definition, faults }, links } = self;
        let is_valid = definition.is_some() && !links.iter().any(is_error);
        let mut json = json!({ "file": file, "ok": is_valid, "faults": faults });
        if !links.is_empty() {
            json["links"] = links.iter().map(ToString::to_string).collect();
        }
        json
    }
}

/// Prints the page of a rule or an action, or lists all of them.
fn explain(what: &str) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(rule) = Rule::find(what) {
        output::print(rules::page(rule).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let kinds = faces::action_kinds(Path::new(""), NotifyPolicy::default(), &PowerSettings::default());
    if let Some(kind) = kinds.find(what) {
        output::print(describe_kind(&**kind).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if what != "list" {
        let known = Rule::ALL.iter().map(|rule| rule.id()).chain(kinds.names());
        let advice = match nearest(what, known) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => "`--explain list` lists all".to_owned(),
        };
        output::complain(&format!("no such rule or action: {what}; {advice}"));
        return Ok(ExitCode::from(2));
    }
    let rules = Rule::ALL
        .iter()
        .map(|rule| [rule.id(), &rule.severity().to_string(), rule.summary()].map(str::to_owned).to_vec());
    let heading = ["RULE", "SEVERITY", "WHAT IT FINDS"].map(str::to_owned).to_vec();
    let rules: Vec<Vec<String>> = [heading].into_iter().chain(rules).collect();
    let settings = |action: &str| {
        let settings = kinds.find(action).map(|kind| kind.settings()).unwrap_or_default();
        settings.iter().map(|info| info.field.name).collect::<Vec<_>>().join(", ")
    };
    let actions = kinds.names().into_iter().map(|action| vec![action.to_owned(), settings(action)]);
    let heading = ["ACTION", "SETTINGS"].map(str::to_owned).to_vec();
    let actions: Vec<Vec<String>> = [heading].into_iter().chain(actions).collect();
    output::print(&format!("{}\n\n{}", output::table(&rules), output::table(&actions)))?;
    Ok(ExitCode::SUCCESS)
}
