//! Model files: finding one below the models folder, telling whether it has changed, and reading it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::ModelError;

/// What files of Python's pickle format are called: they are code, and never run here.
const PICKLE_EXTENSIONS: [&str; 3] = ["pkl", "pickle", "joblib"];

/// A model's file, open.
#[derive(Debug)]
pub(super) struct ModelFile {
    file: File,
    /// `TEAM/MODEL`, for messages.
    pub(super) display_name: String,
    /// What it is like.
    pub(super) version: FileVersion,
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileVersion {
    /// Where it is, when all links are followed.
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Its size, in bytes.
    pub(super) size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl ModelFile {
    /// Opens `<models>/<team>/<model>`; of a model that is a pickle, the `.onnx` file beside it. Blocks.
    ///
    /// # Errors
    ///
    /// [`ModelError::SourceFile`] when there is no such file, and when it is not below the folder.
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
        // A pipe that nobody writes into must not keep us.
        let how = OFlag::O_NONBLOCK.bits();
        let file = File::options().read(true).custom_flags(how).open(&path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(fault("it is not a regular file".to_owned()));
        }
        let stamp = FileVersion {
            path,
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        Ok(Self { file, display_name: shown, version: stamp })
    }

    /// Reads it all, and no more than its stamp says: what is written meanwhile is a change, which the next stamp shows.
    ///
    /// # Errors
    ///
    /// [`ModelError::SourceFile`] when the machine fails.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, ModelError> {
        let size = usize::try_from(self.version.size_bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(size);
        let read = (&mut self.file).take(self.version.size_bytes).read_to_end(&mut bytes);
        read.map_err(|error| self.fault(format!("it cannot be read: {error}")))?;
        Ok(bytes)
    }

    /// Something is wrong with it.
    pub(super) fn fault(&self, fault: impl Into<String>) -> ModelError {
        ModelError::File { file: self.display_name.clone(), fault: fault.into() }
    }
}

fn exists(path: &Path) -> bool {
    // A link to nowhere is there, and what is wrong with it is to be said of it.
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use fs_err as fs;

    use super::*;

    fn told(models: &Path, team: &str, model: &str) -> String {
        let error = ModelFile::open(models, team, model).unwrap_err().to_string();
        error.replace(&models.display().to_string(), "MODELS")
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
        let told = [
            told(&models, "team", "none.onnx"),
            told(&models, "team", "none.pkl"),
            told(&models, "none", "a.onnx"),
            told(&models, "team", "out.onnx"),
            told(&models, "team", "out.pkl"),
            told(&models, "outside", "secret.onnx"),
            told(&models, "team", "dangling.onnx"),
            told(&models, "team", "folder.onnx"),
            told(&models, "team", "pipe.onnx"),
            told(&models, "team", "b.pkl"),
        ];
        insta::assert_snapshot!(told.join("\n"), @"
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
    fn a_file_that_is_written_anew_or_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("t")).unwrap();
        let path = folder.path().join("t/m.onnx");
        let stamp = || ModelFile::open(folder.path(), "t", "m.onnx").unwrap().version;
        fs::write(&path, "one").unwrap();
        let first = stamp();
        assert_eq!(first, stamp());
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        let second = stamp();
        assert_ne!(first, second);
        fs::write(&path, "three").unwrap();
        assert_ne!(second, stamp());
    }
}
