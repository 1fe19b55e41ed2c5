//! The machine definitions that a server starts with.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::faces;
use super::super::machine::{file, import};
use crate::engine::{DefinitionOrigin, Engine, EngineError, LoadedDefinition};
use crate::machine::{self, MachineName};
use crate::outlets::OUTLET_MACHINE;
use crate::store::incidents::INCIDENT_MACHINE;
use crate::store::{Store, definitions};

/// The built-in board lifecycle.
const BOARD_DEFINITION: &str = include_str!("../../../states/board.yaml");

/// The built-in lifecycle of incidents.
const INCIDENT_DEFINITION: &str = include_str!("../../../states/incident.yaml");

/// The built-in lifecycle of outlets that are switched by hand.
const OUTLET_DEFINITION: &str = include_str!("../../../states/outlet.yaml");

/// The machine whose instances are boards.
pub const BOARD_MACHINE: &str = "board";

/// The name of the shared instance at `/state`.
const SHARED_INSTANCE: &str = "shared";

/// The definitions of a server.
#[derive(Default)]
pub(super) struct ServerDefinitions {
    /// The definitions.
    pub(super) loaded: Vec<LoadedDefinition>,
    /// Those that an earlier release accepted.
    pub(super) outdated: Vec<OutdatedDefinition>,
    /// The machine of the shared instance at `/state`.
    pub(super) shared: Option<SharedMachine>,
}

/// A definition with action settings that are invalid now. If it is active, an earlier release accepted it and it is kept, so
/// that an upgraded server can continue; a new one is refused.
pub(super) struct OutdatedDefinition {
    machine: MachineName,
    source: String,
    /// The faults with the name of the file, one a line.
    faults: String,
}

impl OutdatedDefinition {
    /// Checks that the same text is active already.
    ///
    /// # Errors
    ///
    /// The faults of the definition if it is not active, or why the database cannot be read.
    pub(super) async fn confirm_active(&self, store: &Store) -> Result<(), Box<dyn Error>> {
        let Self { machine, source, faults } = self;
        let mut db = store.reader().await?;
        let digest = definitions::digest(&mut db, source).await?;
        let active = definitions::read_active(&mut db).await?.definitions;
        if active.iter().any(|definition| definition.machine == *machine && definition.digest == digest) {
            tracing::warn!(%machine, %faults, "active definition has invalid action settings, kept");
            return Ok(());
        }
        Err(faults.clone().into())
    }
}

/// The machine of the shared instance.
pub(super) struct SharedMachine {
    machine: MachineName,
    file: PathBuf,
    /// The current state in the file, if that is a StateService file.
    current: Option<String>,
}

/// A checked definition, and its faults if only earlier releases accept it.
type CheckedDefinition = (LoadedDefinition, Option<OutdatedDefinition>);

/// Loads the definitions at `path`, or the built-in one of boards, and the shared machine. The boards' machine must be among
/// them. Outlets have their built-in definition in any case, unless a user's machine has the same name: then that is activated,
/// so that a server whose users have such a machine can be upgraded.
pub(super) fn load(path: Option<&Path>, machine: Option<&Path>) -> Result<ServerDefinitions, Box<dyn Error>> {
    let mut given = ServerDefinitions::default();
    match path {
        None => {
            given.add(check("states/board.yaml", BOARD_DEFINITION.to_owned(), DefinitionOrigin::BuiltIn)?);
        }
        Some(path) => load_all(path, &mut given)?,
    }
    if let Some(file) = machine {
        let (read, current) = load_shared(file)?;
        let machine = read.0.definition.machine.clone();
        if machine.as_str() == BOARD_MACHINE {
            let file = file.display();
            return Err(format!(
                "{file}: the machine would have the name of the boards' machine, `{BOARD_MACHINE}`: rename the file"
            )
            .into());
        }
        given.refuse_second(file, &machine)?;
        given.add(read);
        given.shared = Some(SharedMachine { machine, file: file.to_owned(), current });
    }
    let built_in = [
        (INCIDENT_MACHINE, "states/incident.yaml", INCIDENT_DEFINITION),
        (OUTLET_MACHINE, "states/outlet.yaml", OUTLET_DEFINITION),
    ];
    for (machine, file, definition) in built_in {
        if !given.has(machine) {
            given.add(check(file, definition.to_owned(), DefinitionOrigin::BuiltIn)?);
        }
    }
    Ok(given)
}

/// Loads the machine at `path`, a StateService file or a machine definition; of the former, its current state too.
fn load_shared(path: &Path) -> Result<(CheckedDefinition, Option<String>), Box<dyn Error>> {
    let (file, text) = (file::name(path), file::read(path)?);
    if crate::import::is_definition(&text) {
        return Ok((check(&file, text, DefinitionOrigin::File)?, None));
    }
    let imported = import::translate(&file, &text, &import::machine_name(path)?)?;
    let (source, definition) = (imported.source, Arc::new(imported.definition));
    Ok((
        (LoadedDefinition { source, definition, provenance: DefinitionOrigin::File }, None),
        Some(imported.current),
    ))
}

impl ServerDefinitions {
    fn add(&mut self, (loaded, outdated): CheckedDefinition) {
        self.loaded.push(loaded);
        self.outdated.extend(outdated);
    }

    fn has(&self, machine: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded.definition.machine.as_str() == machine)
    }

    fn refuse_second(&self, path: &Path, machine: &MachineName) -> Result<(), Box<dyn Error>> {
        if self.has(machine.as_str()) {
            return Err(format!("{}: machine {machine} is defined twice", path.display()).into());
        }
        Ok(())
    }
}

impl SharedMachine {
    /// Creates the shared instance unless it exists, and returns its address.
    pub(super) async fn create_instance(
        self,
        engine: &Engine,
    ) -> Result<(MachineName, String), Box<dyn Error>> {
        let Self { machine, file, current } = self;
        match engine.create(&machine, SHARED_INSTANCE, None, None).await {
            Ok(_) => {}
            Err(EngineError::Exists(_)) => {
                let present = engine.find(&machine, SHARED_INSTANCE).await?;
                let definition = engine.definition(&machine)?;
                let state = present.map(|seen| definition.label(&seen.instance.state).to_owned());
                if let (Some(state), Some(current)) = (state, current)
                    && state != current
                {
                    tracing::info!(
                        %machine,
                        state,
                        file_state = current,
                        file = %file.display(),
                        "shared machine keeps its state"
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok((machine, SHARED_INSTANCE.to_owned()))
    }
}

/// Adds advice to the error about a file that lacks the current state of its machine.
pub(super) fn with_advice(error: EngineError, shared: Option<&SharedMachine>) -> Box<dyn Error> {
    match (&error, shared) {
        (EngineError::StrandsInstances { machine, .. }, Some(shared)) if *machine == shared.machine => format!(
            "{}: {error}; keep the state in the file, or move the machine first, with a server that has the earlier file: \
             `lifeguard instance force {machine} {SHARED_INSTANCE} --from … --to … --reason …`",
            shared.file.display()
        )
        .into(),
        _ => error.into(),
    }
}

fn load_all(path: &Path, given: &mut ServerDefinitions) -> Result<(), Box<dyn Error>> {
    for path in files(path)? {
        let text = file::read(&path)?;
        let read = check(&path.display().to_string(), text, DefinitionOrigin::File)?;
        given.refuse_second(&path, &read.0.definition.machine)?;
        given.add(read);
    }
    if !given.has(BOARD_MACHINE) {
        return Err(
            format!("{}: no definition of the machine `{}` found", path.display(), BOARD_MACHINE).into()
        );
    }
    Ok(())
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs_err::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn check(file: &str, source: String, from: DefinitionOrigin) -> Result<CheckedDefinition, Box<dyn Error>> {
    let read = machine::load_stored(&source, faces::vocabulary());
    let (definition, faults) = read.map_err(|faults| faults.display(file).to_string())?;
    let machine = definition.machine.clone();
    let faults = faults.map(|faults| faults.display(file).to_string());
    let outdated = faults.map(|faults| OutdatedDefinition { machine, source: source.clone(), faults });
    Ok((LoadedDefinition { definition: Arc::new(definition), source, provenance: from }, outdated))
}
