//! The machine definitions that a server is given.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::action::ACTIONS;
use crate::engine::Loaded;
use crate::machine;

/// The board lifecycle that is built in.
const BOARD_YAML: &str = include_str!("../../../states/board.yaml");
/// The largest definition that is read, in bytes.
const MAX_SIZE: u64 = machine::MAX_SIZE_BYTES as u64;

/// Loads the definition at `path`, or those in it, or the one that is built in. The board's machine must be among them.
pub(super) fn load(path: Option<&Path>) -> Result<Vec<Loaded>, Box<dyn Error>> {
    let Some(path) = path else {
        return Ok(vec![check("states/board.yaml", BOARD_YAML.to_owned())?]);
    };
    let mut loaded: Vec<Loaded> = Vec::new();
    for file in files(path)? {
        let size = fs_err::File::open(&file)?.metadata()?.len();
        if size > MAX_SIZE {
            return Err(format!(
                "{}: {size} bytes are no definition; at most {MAX_SIZE} are read",
                file.display()
            )
            .into());
        }
        let text = fs_err::read_to_string(&file)?;
        let one = check(&file.display().to_string(), text)?;
        if loaded.iter().any(|other| other.definition.machine == one.definition.machine) {
            return Err(
                format!("{}: machine {} is defined twice", file.display(), one.definition.machine).into()
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

fn check(file: &str, source: String) -> Result<Loaded, Box<dyn Error>> {
    let definition = machine::load(&source, ACTIONS).map_err(|faults| faults.display(file).to_string())?;
    Ok(Loaded { source, definition: Arc::new(definition) })
}
