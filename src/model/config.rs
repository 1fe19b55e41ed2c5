//! The configs that say which models there are: StateService's JSON files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ModelError;

/// The largest config, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// What a config says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ModelConfig {
    /// What clients call the model.
    pub(super) name: String,
    /// The folder in the models folder.
    pub(super) team: String,
    /// The file in that.
    pub(super) model: String,
    /// The state that each class stands for, in the order of the classes.
    pub(super) states: Vec<String>,
}

/// The configs of a folder, by the names of their models. Each stands alone: one that is bad is the fault of its own name.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelCatalog {
    /// By name; one that says no name has that of its file.
    pub(super) models: BTreeMap<String, Result<ModelConfig, ModelError>>,
    /// Why the folder could not be read.
    pub(super) fault: Option<String>,
}

impl ModelCatalog {
    /// Reads all `*.json` of `folder`, in any case, and not those in its folders. Blocks.
    pub(super) fn read(folder: &Path) -> Self {
        let files = match files(folder) {
            Ok(files) => files,
            Err(error) => {
                return Self { fault: Some(error.to_string()), ..Self::default() };
            }
        };
        let mut models: BTreeMap<String, Result<ModelConfig, ModelError>> = BTreeMap::new();
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        let mut nameless = Vec::new();
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = text(&path);
            let name = text.as_ref().ok().and_then(|text| name(text));
            let read = text.and_then(|text| parse(&text));
            let mut read = read.map_err(|fault| ModelError::Config { file: file.clone(), fault });
            let Some(name) = name else {
                nameless.push((path, file, read));
                continue;
            };
            if let Some(other) = origins.get(&name) {
                let fault = format!("it and {other} are both named {name:?}; a name can only be one model's");
                read = Err(ModelError::Config { file: file.clone(), fault });
            }
            models.insert(name.clone(), read);
            origins.insert(name, file);
        }
        // What is wrong with one that says no name must not stand in the way of one that does.
        for (path, file, read) in nameless {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            models.insert(if models.contains_key(&stem) { file } else { stem }, read);
        }
        Self { models, fault: None }
    }

    /// Says in the log what is wrong with it, if it was not so `before`.
    pub(super) fn log_faults(&self, before: &Self) {
        if let Some(fault) = &self.fault
            && before.fault.as_ref() != Some(fault)
        {
            tracing::error!(fault, "the configs of models cannot be read");
        }
        for (model, config) in &self.models {
            if let Err(error) = config
                && before.models.get(model) != Some(config)
            {
                tracing::error!(model, %error, "a model's config cannot be used");
            }
        }
    }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if is_json && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs_err::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if found.len() > MAX_CONFIG_BYTES {
        return Err(format!("it has {} bytes, and a config has at most {MAX_CONFIG_BYTES}", found.len()));
    }
    fs_err::read(path).map_err(|error| format!("it cannot be read: {error}"))
}

/// The name that a config says, whatever else is wrong with it.
fn name(text: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let is_name = |name: &&str| !name.is_empty() && !name.contains(char::is_control);
    value.get("name")?.as_str().filter(is_name).map(str::to_owned)
}

fn parse(text: &[u8]) -> Result<ModelConfig, String> {
    let start = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if start.is_some_and(|byte| *byte != b'{') && serde_json::from_slice::<Value>(text).is_ok() {
        // Or else serde takes a list for an object without keys.
        return Err("line 1, column 1: an object with name, team, model and states is needed".to_owned());
    }
    let config: ModelConfig = serde_json::from_slice(text).map_err(|error| {
        let what = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = what.strip_suffix(&place).unwrap_or(&what);
        format!("line {}, column {}: {what}", error.line(), error.column())
    })?;
    if config.name.is_empty() {
        return Err("`name` is empty".to_owned());
    }
    check_printable("`name`", &config.name)?;
    check_plain("team", &config.team, "folder")?;
    check_plain("model", &config.model, "file")?;
    if config.states.is_empty() {
        return Err("`states` is empty; it needs a state for each class of the model".to_owned());
    }
    for (index, state) in config.states.iter().enumerate() {
        check_printable(&format!("`states`, number {},", index + 1), state)?;
    }
    Ok(config)
}

/// Refuses what cannot be stored or shown: history keeps the names of states, and Postgres no text with a NUL in it.
fn check_printable(place: &str, text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => {
            Err(format!("{place} is {text:?}, which holds the control character U+{:04X}", u32::from(c)))
        }
        None => Ok(()),
    }
}

/// Refuses whatever could lead out of the models folder.
fn check_plain(key: &str, name: &str, what: &str) -> Result<(), String> {
    check_printable(&format!("`{key}`"), name)?;
    let is_plain = !["", ".", ".."].contains(&name) && !name.contains(['/', '\\']);
    if is_plain { Ok(()) } else { Err(format!("`{key}` is {name:?}, not the plain name of a {what}")) }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn each_config_stands_alone_and_faults_have_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let good = r#"{"name": "colors", "team": "t", "model": "m.onnx", "states": ["a"], "more": 1}"#;
        let with = |team: &str, model: &str| {
            format!(r#"{{"name": "{team}-{model}", "team": "{team}", "model": "{model}", "states": ["a"]}}"#)
        };
        for (file, text) in [
            ("a.JSON", good.to_owned()),
            ("README.txt", "not json".to_owned()),
            ("broken.json", "{\n  \"name\": \"x\",\n  oops".to_owned()),
            ("list.json", "[1, 2]".to_owned()),
            ("no-name.json", r#"{"team": "x"}"#.to_owned()),
            ("no-states.json", "{\"name\": \"stateless\",\n \"team\": \"t\", \"model\": \"m\"}".to_owned()),
            (
                "kinds.json",
                "{\"name\": \"kinds\", \"team\": \"t\",\n \"model\": 1, \"states\": []}".to_owned(),
            ),
            ("one.json", r#"{"name": "twice", "team": "t", "model": "m", "states": ["a"]}"#.to_owned()),
            ("two.json", r#"{"name": "twice", "team": "t", "model": "m", "states": ["b"]}"#.to_owned()),
            ("up.json", with("..", "m")),
            ("deep.json", with("t", "a/m")),
            ("root.json", with("/etc", "m")),
            ("none.json", r#"{"name": "e", "team": "t", "model": "m", "states": []}"#.to_owned()),
            (
                "nul-name.json",
                r#"{"name": "a\u0000", "team": "t", "model": "m", "states": ["a"]}"#.to_owned(),
            ),
            (
                "nul-state.json",
                r#"{"name": "n", "team": "t", "model": "m", "states": ["a", "b\u0000"]}"#.to_owned(),
            ),
            ("bell.json", r#"{"name": "bell", "team": "t", "model": "m\u0007", "states": ["a"]}"#.to_owned()),
            ("empty.json", String::new()),
            ("colors.json", "{".to_owned()),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        fs::create_dir(folder.path().join("sub.json")).unwrap();
        fs::write(folder.path().join("sub.json/nested.json"), good).unwrap();

        let catalog = ModelCatalog::read(folder.path());
        assert_eq!(catalog.fault, None);
        let told = catalog.models.iter().map(|(name, config)| match config {
            Ok(config) => format!("{name} is {}/{}", config.team, config.model),
            Err(error) => format!("{name}: {error}"),
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r#"
        ..-m: up.json: `team` is "..", not the plain name of a folder
        /etc-m: root.json: `team` is "/etc", not the plain name of a folder
        bell: bell.json: `model` is "m\u{7}", which holds the control character U+0007
        broken: broken.json: line 3, column 3: key must be a string
        colors is t/m.onnx
        colors.json: colors.json: line 1, column 1: EOF while parsing an object
        e: none.json: `states` is empty; it needs a state for each class of the model
        empty: empty.json: line 1, column 0: EOF while parsing a value
        kinds: kinds.json: line 2, column 11: invalid type: integer `1`, expected a string
        list: list.json: line 1, column 1: an object with name, team, model and states is needed
        n: nul-state.json: `states`, number 2, is "b\0", which holds the control character U+0000
        no-name: no-name.json: line 1, column 13: missing field `name`
        nul-name: nul-name.json: `name` is "a\0", which holds the control character U+0000
        stateless: no-states.json: line 2, column 27: missing field `states`
        t-a/m: deep.json: `model` is "a/m", not the plain name of a file
        twice: two.json: it and one.json are both named "twice"; a name can only be one model's
        "#);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_models_and_says_why() {
        let catalog = ModelCatalog::read(Path::new("/nowhere"));
        assert!(catalog.models.is_empty());
        let fault = catalog.fault.unwrap();
        assert!(fault.contains("/nowhere"), "{fault}");
    }
}
