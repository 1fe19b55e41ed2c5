//! ONNX Runtime: a shared library that is loaded when it is first needed, once for the process.
//!
//! If it is missing, it is searched again at the next request, so it can be installed without a restart of the server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::ModelError;

/// The release that Lifeguard is tested with, and that its advice for installation names.
///
/// Microsoft's builds from 1.29 on record each use in the home directory, for upload (Source: observed with 1.24.1, 1.27.0,
/// 1.28.0, which do not, and 1.29.0, 1.30.0, 1.32.0, which do).
pub const TESTED_VERSION: &str = "1.28.0";

/// The names of the library for the system's linker.
const LINKER_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// The loaded library; a process can have only one.
static LOADED_RUNTIME: OnceLock<LoadedRuntime> = OnceLock::new();
static RUNTIME_LOAD_LOCK: Mutex<()> = Mutex::new(());

/// The loaded library.
#[derive(Debug)]
pub(super) struct LoadedRuntime {
    /// The environment of sessions.
    pub(super) environment: Environment,
    /// The library's file.
    pub(super) file: PathBuf,
    /// The library's description of its build.
    pub(super) build: &'static str,
}

/// The places where the library is searched.
#[derive(Debug, Clone, Default)]
pub(super) struct RuntimeLocator {
    /// The configured file; if given, no other is tried.
    pub(super) file: Option<PathBuf>,
    /// `DATA_DIR/onnxruntime`, where pip may have installed it.
    pub(super) folder: PathBuf,
}

impl RuntimeLocator {
    /// The library, which is loaded at the first call. Blocks.
    ///
    /// # Errors
    ///
    /// [`ModelError::Runtime`] with advice.
    pub(super) fn get(&self) -> Result<&'static LoadedRuntime, ModelError> {
        if let Some(loaded) = LOADED_RUNTIME.get() {
            return Ok(loaded);
        }
        let _one_at_a_time = RUNTIME_LOAD_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = LOADED_RUNTIME.get() {
            return Ok(loaded);
        }
        let loaded = self.load()?;
        tracing::info!(file = %loaded.file.display(), build = loaded.build, "ONNX Runtime loaded");
        Ok(LOADED_RUNTIME.get_or_init(|| loaded))
    }

    /// The library, if it is loaded already.
    pub(super) fn loaded() -> Option<&'static LoadedRuntime> {
        LOADED_RUNTIME.get()
    }

    fn load(&self) -> Result<LoadedRuntime, ModelError> {
        if let Some(file) = &self.file {
            let unusable = |reason: String| {
                ModelError::Runtime(format!("--onnxruntime must name ONNX Runtime's library: {reason}"))
            };
            return if file.is_file() {
                open(file).map_err(unusable)
            } else {
                Err(unusable(format!("there is no file {}", file.display())))
            };
        }
        for name in LINKER_NAMES {
            match open(Path::new(name)) {
                Ok(loaded) => return Ok(loaded),
                // The linker's error does not distinguish a missing library from an unusable one.
                Err(error) => tracing::debug!(name, error, "no ONNX Runtime found by the system's linker"),
            }
        }
        match self.find_installed() {
            Some(file) => open(&file).map_err(|reason| self.missing(&reason)),
            None => Err(self.missing("ONNX Runtime, which runs models, is not installed")),
        }
    }

    /// The library that pip installed in the folder.
    fn find_installed(&self) -> Option<PathBuf> {
        let entries = fs_err::read_dir(self.folder.join("onnxruntime/capi")).ok()?;
        let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_library = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
        };
        files.filter(is_library).max()
    }

    fn missing(&self, reason: &str) -> ModelError {
        let folder = shell_quoted(&self.folder.to_string_lossy());
        ModelError::Runtime(format!(
            "{reason}; install it with `python3 -m pip install --no-deps --target {folder} \
             onnxruntime=={TESTED_VERSION}`: it is found without a restart"
        ))
    }
}

/// Loads the library that `path` names.
fn open(path: &Path) -> Result<LoadedRuntime, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("lifeguard")
        .with_telemetry(false)
        // Errors are returned by the calls; the runtime's own log is for debugging only.
        .with_logger(Arc::new(|_level, _category, _id, location, message| {
            tracing::debug!(location, message, "ONNX Runtime");
        }))
        .build()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    environment.set_log_level(LogLevel::Warning);
    let file = mapped_library().unwrap_or_else(|| path.to_owned());
    Ok(LoadedRuntime { environment, file, build: ort::info() })
}

/// The file of the loaded library. For a library found by the linker only the kernel knows the path.
/// Source: `proc_pid_maps(5)`.
fn mapped_library() -> Option<PathBuf> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    path.filter(|path| path.contains("/libonnxruntime.so")).map(PathBuf::from).next()
}

/// The runtime's message of an error, without its prefixes.
pub(super) fn describe_error<R>(error: &ort::Error<R>) -> String {
    let text = error.message();
    let text = text.strip_prefix("Fatal error: ").unwrap_or(text);
    let text = text.strip_prefix("This is an invalid model. ").unwrap_or(text);
    format!("ONNX Runtime cannot run it: {}", text.trim().chars().take(500).collect::<String>())
}

/// Quotes a word for the shell.
fn shell_quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_installs_it_can_be_pasted_into_a_shell() {
        for (folder, word) in
            [("/var/lib/lifeguard", "/var/lib/lifeguard"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'")]
        {
            let runtime = RuntimeLocator { file: None, folder: folder.into() };
            let error = runtime.missing("it is missing").to_string();
            assert_eq!(
                error,
                format!(
                    "it is missing; install it with `python3 -m pip install --no-deps --target {word} \
                     onnxruntime=={TESTED_VERSION}`: it is found without a restart"
                )
            );
        }
    }

    #[test]
    fn a_configured_file_must_exist() {
        let runtime =
            RuntimeLocator { file: Some("/nowhere/lib.so".into()), folder: "/data/onnxruntime".into() };
        let error = runtime.get().unwrap_err().to_string();
        assert!(
            error == "--onnxruntime must name ONNX Runtime's library: there is no file /nowhere/lib.so",
            "{error}"
        );
    }

    #[test]
    fn a_library_installed_by_pip_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = RuntimeLocator { file: None, folder: folder.path().to_owned() };
        assert_eq!(runtime.find_installed(), None);
        let capi = folder.path().join("onnxruntime/capi");
        fs_err::create_dir_all(&capi).unwrap();
        for name in ["libonnxruntime.so.1.28.0", "libonnxruntime_providers_shared.so", "__init__.py"] {
            fs_err::write(capi.join(name), "").unwrap();
        }
        assert_eq!(runtime.find_installed(), Some(capi.join("libonnxruntime.so.1.28.0")));
    }
}
