//! Each fault and warning that the source can report stands in one of the golden files of `tests/config`.
//!
//! What their reports say is compared there; here it is only seen that none is missing.

use std::fs;
use std::path::{Path, PathBuf};

use super::Config;
use super::fault::sites::{self, Site};

#[path = "../../tests/config/directory.rs"]
mod directory;

/// What no file can bring about: a default that is no TOML, an http URL without a host, a system without authorities, a TLS
/// library without versions, and a build without a part.
const BEYOND_FILES: [&str; 5] = [
    "the default of `{}`",
    "`{text}` has no host",
    "the system trusts no authority",
    "TLS is not possible",
    "this build cannot",
];

#[test]
fn every_fault_is_in_a_golden_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = directory::directory();
    let file = directory.path().join("bearward.toml");
    let cases = files(&root.join("tests/config"), "toml");
    for case in &cases {
        fs::copy(case, &file).unwrap();
        // Whether it is good is none of this test's business.
        let _ = Config::load(&file);
    }
    let seen = sites::seen();
    let mut sources = files(&root.join("src/config"), "rs");
    sources.retain(|path| !path.ends_with("golden.rs"));
    let all: Vec<_> = sources.iter().flat_map(|path| reports(root, path)).collect();
    let missing: Vec<_> = all.iter().filter(|(site, _)| !seen.contains(site)).collect();
    assert!(missing.is_empty(), "in no golden file:\n{missing:#?}");
    assert!(cases.len() > 20 && all.len() > 100, "{} files, {} reports", cases.len(), all.len());
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found
}

/// The lines of a source file that report something, tests left out.
fn reports(root: &Path, path: &Path) -> Vec<(Site, String)> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
    let reports = |line: &&str| [".fault(", ".warn(", "Wrong::new("].iter().any(|call| line.contains(call));
    // A value's own parser says what is wrong with it: there is the site.
    let passed_on = |line: &str| line.contains("wrong.what");
    let lines = code.lines().zip(1..).filter(|(line, _)| reports(line) && !passed_on(line));
    let lines = lines.filter(|(line, _)| !BEYOND_FILES.iter().any(|known| line.contains(known)));
    lines.map(|(line, number)| ((name.to_owned(), number), line.trim().to_owned())).collect()
}
