//! ONNX Runtime: a shared library that is loaded when it is first needed, once for the process.
//!
//! Whoever installs it while the server runs need not restart it: where it is missing, it is looked for again at the
//! next request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::ModelError;

/// The release that Lifeguard is tested with, and asks for where there is none.
///
/// Its makers' builds from 1.29 on note each use in the home directory, for upload (Source: seen with 1.24.1, 1.27.0,
/// 1.28.0, which do not, and 1.29.0, 1.30.0, 1.32.0, which do).
pub const TESTED_VERSION: &str = "1.28.0";

/// The names by which the system's linker knows the library.
const LINKER_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// The library, loaded: there can only be one in a process.
static LOADED_RUNTIME: OnceLock<LoadedRuntime> = OnceLock::new();
static RUNTIME_LOAD_LOCK: Mutex<()> = Mutex::new(());

/// The library as it was loaded.
#[derive(Debug)]
pub(super) struct LoadedRuntime {
    /// What sessions are made with.
    pub(super) environment: Environment,
    /// The library's file.
    pub(super) file: PathBuf,
    /// What its makers say of this build.
    pub(super) build: &'static str,
}

/// Where the library is looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct RuntimeLocator {
    /// This file and no other.
    pub(super) file: Option<PathBuf>,
    /// `DATA_DIR/onnxruntime`, where pip may have put it.
    pub(super) folder: PathBuf,
}

impl RuntimeLocator {
    /// Gives the library, which is loaded if it was not yet. Blocks.
    ///
    /// # Errors
    ///
    /// [`ModelError::RuntimeLocator`] with what would mend it.
    pub(super) fn get(&self) -> Result<&'static LoadedRuntime, ModelError> {
        if let Some(loaded) = LOADED_RUNTIME.get() {
            return Ok(loaded);
        }
        let _one_at_a_time = RUNTIME_LOAD_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = LOADED_RUNTIME.get() {
            return Ok(loaded);
        }
        let loaded = self.load()?;
        tracing::info!(file = %loaded.file.display(), build = loaded.build, "ONNX Runtime is loaded");
        Ok(LOADED_RUNTIME.get_or_init(|| loaded))
    }

    /// The library, if it is loaded already.
    pub(super) fn loaded() -> Option<&'static LoadedRuntime> {
        LOADED_RUNTIME.get()
    }

    fn load(&self) -> Result<LoadedRuntime, ModelError> {
        if let Some(file) = &self.file {
            let unusable = |why: String| {
                ModelError::Runtime(format!("--onnxruntime must name ONNX Runtime's library: {why}"))
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
                // Whether there is none, or one that cannot be used, is not told apart.
                Err(why) => tracing::debug!(name, why, "the system's linker gives no ONNX Runtime"),
            }
        }
        match self.find_installed() {
            Some(file) => open(&file).map_err(|why| self.missing(&why)),
            None => Err(self.missing("ONNX Runtime, which runs models, is not installed")),
        }
    }

    /// The file that pip has put into the folder.
    fn find_installed(&self) -> Option<PathBuf> {
        let entries = fs_err::read_dir(self.folder.join("onnxruntime/capi")).ok()?;
        let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let is_library = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
        };
        files.filter(is_library).max()
    }

    fn missing(&self, why: &str) -> ModelError {
        let folder = shell_quoted(&self.folder.to_string_lossy());
        ModelError::Runtime(format!(
            "{why}; install it with `python3 -m pip install --no-deps --target {folder} \
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
        // What goes wrong is told by the calls; here it is only said in passing.
        .with_logger(Arc::new(|_level, _category, _id, place, message| {
            tracing::debug!(place, message, "ONNX Runtime");
        }))
        .build()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    environment.set_log_level(LogLevel::Warning);
    let file = mapped_library().unwrap_or_else(|| path.to_owned());
    Ok(LoadedRuntime { environment, file, build: ort::info() })
}

/// The file that the library was loaded from, which for one found by the linker only the kernel knows.
/// Source: `proc_pid_maps(5)`.
fn mapped_library() -> Option<PathBuf> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    path.filter(|path| path.contains("/libonnxruntime.so")).map(PathBuf::from).next()
}

/// What the runtime says of an error, without what says that it is one.
pub(super) fn describe_error<R>(error: &ort::Error<R>) -> String {
    let text = error.message();
    let text = text.strip_prefix("Fatal error: ").unwrap_or(text);
    let text = text.strip_prefix("This is an invalid model. ").unwrap_or(text);
    format!("ONNX Runtime cannot run it: {}", text.trim().chars().take(500).collect::<String>())
}

/// A word for the shell.
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
            let told = runtime.missing("it is missing").to_string();
            assert_eq!(
                told,
                format!(
                    "it is missing; install it with `python3 -m pip install --no-deps --target {word} \
                     onnxruntime=={TESTED_VERSION}`: it is found without a restart"
                )
            );
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let runtime =
            RuntimeLocator { file: Some("/nowhere/lib.so".into()), folder: "/data/onnxruntime".into() };
        let told = runtime.get().unwrap_err().to_string();
        assert!(
            told == "--onnxruntime must name ONNX Runtime's library: there is no file /nowhere/lib.so",
            "{told}"
        );
    }

    #[test]
    fn what_pip_has_put_into_the_folder_is_found() {
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
