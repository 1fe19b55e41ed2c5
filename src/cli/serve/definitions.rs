//! The machine definitions that a server is given.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::machine::file;
use crate::engine::{Loaded, Provenance};

/// The board lifecycle that is built in.
const BOARD_YAML: &str = include_str!("../../../states/board.yaml");

/// Loads the definition at `path`, or those in it, or the one that is built in. The board's machine must be among them.
pub(super) fn load(path: Option<&Path>) -> Result<Vec<Loaded>, Box<dyn Error>> {
    let Some(path) = path else {
        return Ok(vec![check("states/board.yaml", BOARD_YAML.to_owned(), Provenance::BuiltIn)?]);
    };
    let mut loaded: Vec<Loaded> = Vec::new();
    for path in files(path)? {
        let text = file::read(&path)?;
        let one = check(&path.display().to_string(), text, Provenance::File)?;
        if loaded.iter().any(|other| other.definition.machine == one.definition.machine) {
            return Err(
                format!("{}: machine {} is defined twice", path.display(), one.definition.machine).into()
            );
        }
        loaded.push(one);
    }
    if !loaded.iter().any(|one| one.definition.machine.as_str() == super::BOARD) {
        return Err(
            format!("{}: no definition of the machine `{}` is there", path.display(), super::BOARD).into()
        );
    }
    Ok(loaded)
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
