//! The machine definitions that a server is given.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::machine::{file, import};
use crate::engine::{Engine, EngineError, Loaded, Provenance};
use crate::machine::{self, MachineName};

/// The board lifecycle that is built in.
const BOARD_YAML: &str = include_str!("../../../states/board.yaml");

/// The machine whose instances are boards.
pub const BOARD: &str = "board";

/// The name of the instance that is shared at `/state`.
const SHARED: &str = "shared";

/// What a server is given.
pub(super) struct Given {
    /// The definitions.
    pub(super) loaded: Vec<Loaded>,
    /// The machine of which one instance is shared at `/state`.
    pub(super) shared: Option<Shared>,
}

/// A machine of which one instance is shared.
pub(super) struct Shared {
    machine: MachineName,
    file: PathBuf,
    /// What the file calls its current state, where it is StateService's.
    current: Option<String>,
}

/// Loads the definitions at `path`, or the one that is built in, and the machine to be shared. The board's machine must be
/// among them.
pub(super) fn load(path: Option<&Path>, machine: Option<&Path>) -> Result<Given, Box<dyn Error>> {
    let mut loaded = match path {
        None => vec![check("states/board.yaml", BOARD_YAML.to_owned(), Provenance::BuiltIn)?],
        Some(path) => load_all(path)?,
    };
    let shared = match machine {
        None => None,
        Some(file) => {
            let (one, current) = load_shared(file)?;
            let machine = one.definition.machine.clone();
            if machine.as_str() == BOARD {
                let file = file.display();
                return Err(format!(
                    "{file}: this machine would be called as boards' is: give the file another name"
                )
                .into());
            }
            refuse_second(&loaded, file, &one)?;
            loaded.push(one);
            Some(Shared { machine, file: file.to_owned(), current })
        }
    };
    Ok(Given { loaded, shared })
}

/// Loads the machine at `path`: a file of StateService's, or a definition of ours. Gives also what the former calls its
/// current state.
fn load_shared(path: &Path) -> Result<(Loaded, Option<String>), Box<dyn Error>> {
    let (file, text) = (file::name(path), file::read(path)?);
    if machine::import::is_definition(&text) {
        return Ok((check(&file, text, Provenance::File)?, None));
    }
    let imported = import::translate(&file, &text, &import::machine_name(path)?)?;
    let (source, definition) = (imported.source, Arc::new(imported.definition));
    Ok((Loaded { source, definition, from: Provenance::File }, Some(imported.current)))
}

impl Shared {
    /// Sees to it that there is an instance, and says which.
    pub(super) async fn begin(self, engine: &Engine) -> Result<(MachineName, String), Box<dyn Error>> {
        let Self { machine, file, current } = self;
        match engine.create(&machine, SHARED, None, None).await {
            Ok(_) => {}
            Err(EngineError::Exists(_)) => {
                let present = engine.find(&machine, SHARED).await?;
                let definition = engine.definition(&machine)?;
                let state = present.map(|seen| definition.label(&seen.instance.state).to_owned());
                if let (Some(state), Some(current)) = (state, current)
                    && state != current
                {
                    let file = file.display();
                    tracing::info!(
                        "{machine} goes on in {state}, where it was, and not in {current}, as {file} says"
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok((machine, SHARED.to_owned()))
    }
}

/// Says what could be done about a file that lacks the state that its machine is in.
pub(super) fn explained(error: EngineError, shared: Option<&Shared>) -> Box<dyn Error> {
    match (&error, shared) {
        (EngineError::Strands { machine, .. }, Some(shared)) if *machine == shared.machine => format!(
            "{}: {error}; keep the state in the file, or move the machine first, with a server that has the file as it was: \
             `lifeguard instance force {machine} {SHARED} --from … --to … --reason …`",
            shared.file.display()
        )
        .into(),
        _ => error.into(),
    }
}

fn load_all(path: &Path) -> Result<Vec<Loaded>, Box<dyn Error>> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for path in files(path)? {
        let text = file::read(&path)?;
        let one = check(&path.display().to_string(), text, Provenance::File)?;
        refuse_second(&loaded, &path, &one)?;
        loaded.push(one);
    }
    if !loaded.iter().any(|one| one.definition.machine.as_str() == BOARD) {
        return Err(format!("{}: no definition of the machine `{}` is there", path.display(), BOARD).into());
    }
    Ok(loaded)
}

fn refuse_second(loaded: &[Loaded], path: &Path, one: &Loaded) -> Result<(), Box<dyn Error>> {
    let machine = &one.definition.machine;
    if loaded.iter().any(|other| other.definition.machine == *machine) {
        return Err(format!("{}: machine {machine} is defined twice", path.display()).into());
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

fn check(file: &str, source: String, from: Provenance) -> Result<Loaded, Box<dyn Error>> {
    Ok(Loaded { definition: Arc::new(file::check(file, &source)?), source, from })
}
