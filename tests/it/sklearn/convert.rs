//! Tests of what `model convert` refuses without leaving files.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use super::*;
use crate::foreign_programs::tool;

/// The command's error, without paths that differ from run to run.
fn refused(python: &OsStr, folder: &Path, args: &[&OsStr]) -> String {
    let done = convert(python, args);
    let output = String::from_utf8(done.stderr).unwrap();
    assert_eq!(
        (done.status.code(), String::from_utf8(done.stdout).unwrap()),
        (Some(1), String::new()),
        "{output}"
    );
    let output =
        output.replace(python.to_str().unwrap(), "PYTHON").replace(folder.to_str().unwrap(), "FOLDER");
    let version = output.split("scikit-learn ").nth(1).and_then(|rest| rest.split(' ').next());
    let version = version.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    version.map_or(output.clone(), |version| output.replace(version, "VERSION")).trim_end().to_owned()
}

/// The names in a directory.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn unconvertible_models_are_refused_with_the_reason_and_leave_no_files() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    run_python(&python, "tests/it/sklearn/train.py", folder.path());
    let odd = folder.path().join("odd");
    fs::write(odd.join("empty.pkl"), "").unwrap();
    fs::write(odd.join("module.pkl"), "cnosuch.module\nThing\n.").unwrap();
    fs::write(odd.join("rows.csv"), "number\n5\n16777217\n").unwrap();
    fs::write(odd.join("wide.json"), "[[1], [2, 3]]").unwrap();
    fs::write(odd.join("words.csv"), "1\ntwo\n").unwrap();
    fs::write(odd.join("no.csv"), "number\n").unwrap();
    fs::write(odd.join("kept.onnx"), "an older file").unwrap();
    let before = names(&odd);
    let mut outputs = Vec::new();
    for (name, samples) in [
        ("histogram", None),
        ("quantity", None),
        ("from-one", None),
        ("two-answers", None),
        ("untrained", None),
        ("dictionary", None),
        ("prints", None),
        ("exits", None),
        ("empty", None),
        ("module", None),
        ("missing", None),
        ("precise", None),
        ("precise", Some("rows.csv")),
        ("precise", Some("wide.json")),
        ("precise", Some("words.csv")),
        ("precise", Some("no.csv")),
        ("precise", Some("missing.csv")),
    ] {
        let pickle = odd.join(name).with_extension("pkl");
        let output = odd.join("kept.onnx");
        let mut args = vec![pickle.as_os_str(), OsStr::new("--output"), output.as_os_str()];
        let samples = samples.map(|samples| odd.join(samples));
        if let Some(samples) = &samples {
            args.extend([OsStr::new("--samples"), samples.as_os_str()]);
        }
        outputs.push(refused(&python, &odd, &args));
    }
    assert_snapshot!(outputs.join("\n"), @r#"
    lifeguard: FOLDER/histogram.pkl: skl2onnx cannot convert HistGradientBoostingClassifier: ValueError: Unable to create node 'TreeEnsembleClassifier' with name='TreeEnsembleClassifier' and attributes
    lifeguard: FOLDER/quantity.pkl: LinearRegression predicts a quantity, not a class; states need classes
    lifeguard: FOLDER/from-one.pkl: its classes are 1, 2, 3; a class is the index of its state in the config, so 0, 1, 2 and so on, or texts, are needed
    lifeguard: FOLDER/two-answers.pkl: DecisionTreeClassifier predicts several classes a row, and one is needed
    lifeguard: FOLDER/untrained.pkl: DecisionTreeClassifier has not been trained
    lifeguard: FOLDER/dictionary.pkl: it contains dict, which is not a scikit-learn model that predicts
    lifeguard: FOLDER/prints.pkl: it contains NoneType, which is not a scikit-learn model that predicts
    lifeguard: FOLDER/exits.pkl: PYTHON ended without an answer (exit status: 1): the pickle has ended Python
    lifeguard: FOLDER/empty.pkl: it cannot be unpickled: EOFError
    lifeguard: FOLDER/module.pkl: it needs the module nosuch, which PYTHON lacks
    lifeguard: FOLDER/missing.pkl: No such file or directory
    lifeguard: FOLDER/precise.pkl: cannot generate rows where more than rounding decides: give rows with --samples
    lifeguard: FOLDER/precise.pkl: sample row 2, [16777217.0]: scikit-learn VERSION says 1, ONNX Runtime, with 32-bit numbers, says 0; 1 of 2 rows differ, and nothing was written
    lifeguard: FOLDER/precise.pkl: sample row 2 has 2 numbers, and the model takes 1
    lifeguard: FOLDER/words.csv: line 2, column 1: "two" is not a number
    lifeguard: FOLDER/no.csv: the file has no rows
    lifeguard: failed to open file `FOLDER/missing.csv`: No such file or directory
    "#);
    assert_eq!(names(&odd), before);
    assert_eq!(fs::read_to_string(odd.join("kept.onnx")).unwrap(), "an older file");
}

#[test]
fn missing_python_packages_are_reported_with_the_install_command() {
    let Some(bare) = tool("python3", "python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    // Without its packages, whatever is installed on this machine.
    let python = folder.path().join("python");
    fs::write(&python, format!("#!/bin/sh\nexec {} -S \"$@\"\n", bare.display())).unwrap();
    fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let pickle = folder.path().join("model.pkl");
    fs::write(&pickle, "").unwrap();
    let output = refused(python.as_os_str(), folder.path(), &[pickle.as_os_str()]);
    assert_snapshot!(output, @"lifeguard: FOLDER/model.pkl: PYTHON lacks scikit-learn and skl2onnx: PYTHON -m pip install scikit-learn skl2onnx");
    let missing = folder.path().join("missing");
    let output = refused(missing.as_os_str(), folder.path(), &[pickle.as_os_str()]);
    assert_snapshot!(output, @"lifeguard: --python PYTHON: No such file or directory");
    assert_eq!(names(folder.path()), ["model.pkl", "python"]);
}
