//! The configs of models: StateService's JSON files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ModelError;

/// The maximum size of a config, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// The config of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ModelConfig {
    /// The name of the model for clients.
    pub(super) name: String,
    /// The folder of its file, in the models folder.
    pub(super) team: String,
    /// The name of its file.
    pub(super) model: String,
    /// The state of each class, in the order of the classes.
    pub(super) states: Vec<String>,
}

/// The configs of a folder, by the names of their models. An invalid config affects only its own model.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelCatalog {
    /// By name; a config without a name has the name of its file.
    pub(super) models: BTreeMap<String, Result<ModelConfig, ModelError>>,
    /// Why the folder cannot be read.
    pub(super) fault: Option<String>,
}

impl ModelCatalog {
    /// Reads all `*.json` files of `folder`, in upper or lower case, but not of its folders. Blocks.
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
        // A config without a name must not replace one with that name.
        for (path, file, read) in nameless {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            models.insert(if models.contains_key(&stem) { file } else { stem }, read);
        }
        Self { models, fault: None }
    }

    /// Logs the faults that are not in `before`.
    pub(super) fn log_faults(&self, before: &Self) {
        if let Some(fault) = &self.fault
            && before.fault.as_ref() != Some(fault)
        {
            tracing::error!(fault, "cannot read model configs");
        }
        for (model, config) in &self.models {
            if let Err(error) = config
                && before.models.get(model) != Some(config)
            {
                tracing::error!(model, %error, "invalid model config");
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
        return Err(format!("it has {} bytes; the maximum is {MAX_CONFIG_BYTES}", found.len()));
    }
    fs_err::read(path).map_err(|error| format!("it cannot be read: {error}"))
}

/// The name in a config, even if other parts are invalid.
fn name(text: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let is_name = |name: &&str| !name.is_empty() && !name.contains(char::is_control);
    value.get("name")?.as_str().filter(is_name).map(str::to_owned)
}

fn parse(text: &[u8]) -> Result<ModelConfig, String> {
    let start = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if start.is_some_and(|byte| *byte != b'{') && serde_json::from_slice::<Value>(text).is_ok() {
        // Otherwise serde accepts a list as an object without keys.
        return Err("line 1, column 1: an object with name, team, model and states is needed".to_owned());
    }
    let config: ModelConfig = serde_json::from_slice(text).map_err(|error| {
        let message = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&position).unwrap_or(&message);
        format!("line {}, column {}: {message}", error.line(), error.column())
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

/// Refuses control characters: history stores the names of states, and Postgres stores no text with a NUL.
fn check_printable(key: &str, text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => {
            Err(format!("{key} is {text:?}, which holds the control character U+{:04X}", u32::from(c)))
        }
        None => Ok(()),
    }
}

/// Refuses names that could lead out of the models folder.
fn check_plain(key: &str, name: &str, kind: &str) -> Result<(), String> {
    check_printable(&format!("`{key}`"), name)?;
    let is_plain = !["", ".", ".."].contains(&name) && !name.contains(['/', '\\']);
    if is_plain { Ok(()) } else { Err(format!("`{key}` is {name:?}, not the plain name of a {kind}")) }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn an_invalid_config_affects_only_its_own_model() {
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
        let lines = catalog.models.iter().map(|(name, config)| match config {
            Ok(config) => format!("{name} is {}/{}", config.team, config.model),
            Err(error) => format!("{name}: {error}"),
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
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
    fn a_missing_folder_is_a_fault() {
        let catalog = ModelCatalog::read(Path::new("/nowhere"));
        assert!(catalog.models.is_empty());
        let fault = catalog.fault.unwrap();
        assert!(fault.contains("/nowhere"), "{fault}");
    }
}
