//! Tests of `lifeguard machine diagram`: shipped definitions are drawn in every format, and faulty ones are refused.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;
use tempfile::TempDir;

fn diagram(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIFEGUARD_") {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["machine", "diagram"]).args(args).output().unwrap()
}

fn output_text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_shipped_definitions_are_drawn_in_every_format() {
    for file in ["states/board.yaml", "states/mozpool.yaml"] {
        for (format, begins, ends) in
            [("svg", "<svg ", "</svg>\n"), ("dot", "digraph ", "}\n"), ("mermaid", "---\n", "\n")]
        {
            let output = diagram(&[file, "--format", format]);
            let drawing = output_text(&output);
            assert!(output.status.success(), "{file} {format}: {output:?}");
            assert!(drawing.starts_with(begins) && drawing.ends_with(ends), "{file} {format}: {drawing}");
        }
    }
}

#[test]
fn a_picture_is_written_to_the_named_file_and_is_svg_by_default() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("board.svg");
    let output = diagram(&["states/board.yaml", "--output", path.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), output_text(&diagram(&["states/board.yaml"])));
}

#[test]
fn errors_are_reported_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wrong.svg");
    let output = diagram(&["fixtures/mozpool-as-it-was.yaml", "--output", path.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("fixtures/mozpool-as-it-was.yaml:") && error.contains("endless-loop"), "{error}");
    assert!(!Path::exists(&path));
}
