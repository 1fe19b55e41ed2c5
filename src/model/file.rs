//! Model files: finding one below the models folder, detecting changes, and reading it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::ModelError;

/// The extensions of Python pickles, which are code and never run here.
const PICKLE_EXTENSIONS: [&str; 3] = ["pkl", "pickle", "joblib"];

/// An open model file.
#[derive(Debug)]
pub(super) struct ModelFile {
    file: File,
    /// `TEAM/MODEL`, for messages.
    pub(super) display_name: String,
    /// Its version.
    pub(super) version: FileVersion,
}

/// The identity of one version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileVersion {
    /// Its path, with all links resolved.
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Its size, in bytes.
    pub(super) size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl ModelFile {
    /// Opens `<models>/<team>/<model>`, or the `.onnx` file beside it if the model is a pickle. Blocks.
    ///
    /// # Errors
    ///
    /// [`ModelError::File`] when there is no such file, or it is not below the folder.
    pub(super) fn open(models: &Path, team: &str, model: &str) -> Result<Self, ModelError> {
        let named = Path::new(model);
        let extension = named.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if extension.is_none_or(|extension| !PICKLE_EXTENSIONS.contains(&extension.as_str())) {
            return Self::open_named(models, team, model);
        }
        let converted = named.with_extension("onnx");
        match Self::open_named(models, team, &converted.to_string_lossy()) {
            Err(_) if !exists(&models.join(team).join(&converted)) => {
                let pickle = models.join(team).join(model);
                let fault = if exists(&pickle) {
                    format!(
                        "it is a pickle, which is code and is never run here; make {} of it: \
                         `lifeguard model convert --python PYTHON {}`",
                        converted.display(),
                        pickle.display()
                    )
                } else {
                    format!("there is no such file in {}, nor {}", models.display(), converted.display())
                };
                Err(ModelError::File { file: format!("{team}/{model}"), fault })
            }
            other => other,
        }
    }

    fn open_named(models: &Path, team: &str, model: &str) -> Result<Self, ModelError> {
        let shown = format!("{team}/{model}");
        let fault = |fault: String| ModelError::File { file: shown.clone(), fault };
        let unreadable = |error: io::Error| {
            fault(if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                format!("there is no such file in {}", models.display())
            } else {
                format!("it cannot be read: {error}")
            })
        };
        let root = fs_err::canonicalize(models).map_err(unreadable)?;
        let path = fs_err::canonicalize(root.join(team).join(model)).map_err(unreadable)?;
        if !path.starts_with(&root) {
            return Err(fault(format!("it leads out of the models folder, {}", models.display())));
        }
        // Opening a pipe without a writer must not block.
        let flags = OFlag::O_NONBLOCK.bits();
        let file = File::options().read(true).custom_flags(flags).open(&path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(fault("it is not a regular file".to_owned()));
        }
        let version = FileVersion {
            path,
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        Ok(Self { file, display_name: shown, version })
    }

    /// Reads the file up to the size in its version. What is written meanwhile is a change, which gives another version.
    ///
    /// # Errors
    ///
    /// [`ModelError::File`] when reading fails.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, ModelError> {
        let size = usize::try_from(self.version.size_bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(size);
        let read = (&mut self.file).take(self.version.size_bytes).read_to_end(&mut bytes);
        read.map_err(|error| self.fault(format!("it cannot be read: {error}")))?;
        Ok(bytes)
    }

    /// An error about this file.
    pub(super) fn fault(&self, fault: impl Into<String>) -> ModelError {
        ModelError::File { file: self.display_name.clone(), fault: fault.into() }
    }
}

fn exists(path: &Path) -> bool {
    // A dangling link exists; its own fault is reported.
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use fs_err as fs;

    use super::*;

    fn error(models: &Path, team: &str, model: &str) -> String {
        let text = ModelFile::open(models, team, model).unwrap_err().to_string();
        text.replace(&models.display().to_string(), "MODELS")
    }

    #[test]
    fn files_below_the_folder_are_found_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        fs::create_dir_all(models.join("team")).unwrap();
        fs::write(folder.path().join("secret.onnx"), "secret").unwrap();
        for name in ["a.onnx", "b.pkl", "c.pkl", "c.onnx"] {
            fs::write(models.join("team").join(name), name).unwrap();
        }
        symlink(models.join("team/a.onnx"), models.join("team/link.onnx")).unwrap();
        symlink(folder.path().join("secret.onnx"), models.join("team/out.onnx")).unwrap();
        symlink("nowhere", models.join("team/dangling.onnx")).unwrap();
        symlink(folder.path(), models.join("outside")).unwrap();
        fs::create_dir(models.join("team/folder.onnx")).unwrap();
        nix::unistd::mkfifo(&models.join("team/pipe.onnx"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        for (name, content) in [("a.onnx", "a.onnx"), ("link.onnx", "a.onnx"), ("c.pkl", "c.onnx")] {
            let mut file = ModelFile::open(&models, "team", name).unwrap();
            assert_eq!(file.read().unwrap(), content.as_bytes());
        }
        let errors = [
            error(&models, "team", "none.onnx"),
            error(&models, "team", "none.pkl"),
            error(&models, "none", "a.onnx"),
            error(&models, "team", "out.onnx"),
            error(&models, "team", "out.pkl"),
            error(&models, "outside", "secret.onnx"),
            error(&models, "team", "dangling.onnx"),
            error(&models, "team", "folder.onnx"),
            error(&models, "team", "pipe.onnx"),
            error(&models, "team", "b.pkl"),
        ];
        insta::assert_snapshot!(errors.join("\n"), @"
        team/none.onnx: there is no such file in MODELS
        team/none.pkl: there is no such file in MODELS, nor none.onnx
        none/a.onnx: there is no such file in MODELS
        team/out.onnx: it leads out of the models folder, MODELS
        team/out.onnx: it leads out of the models folder, MODELS
        outside/secret.onnx: it leads out of the models folder, MODELS
        team/dangling.onnx: there is no such file in MODELS
        team/folder.onnx: it is not a regular file
        team/pipe.onnx: it is not a regular file
        team/b.pkl: it is a pickle, which is code and is never run here; make b.onnx of it: `lifeguard model convert --python PYTHON MODELS/team/b.pkl`
        ");
    }

    #[test]
    fn a_file_that_is_rewritten_or_replaced_has_another_version() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("t")).unwrap();
        let path = folder.path().join("t/m.onnx");
        let version = || ModelFile::open(folder.path(), "t", "m.onnx").unwrap().version;
        fs::write(&path, "one").unwrap();
        let first = version();
        assert_eq!(first, version());
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        let second = version();
        assert_ne!(first, second);
        fs::write(&path, "three").unwrap();
        assert_ne!(second, version());
    }
}
