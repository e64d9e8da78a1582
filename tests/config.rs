//! The configuration: a bad file gets exactly its report, and the example is current and good.
//!
//! Each `config/NAME.toml` is checked as a user would check it, and what is said of it must be `config/NAME.txt`, byte for
//! byte. With `BLESS=1` in the environment the reports are written instead.

use std::fs;
use std::path::{Path, PathBuf};

use bearward::cli::check;
use bearward::config::{Config, Severity, example};

/// A public key (RFC 7517 appendix A.1).
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}]}"#;

/// A directory with the files that the configurations name, which is where they are checked.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32, bytes: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("keys.json", 0o644, KEYS);
    file("no-keys.json", 0o644, r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"old"}]}"#);
    file("page.json", 0o644, "<html></html>");
    file("hmac.key", 0o440, &("k".repeat(64) + "\n"));
    file("short.key", 0o440, &("k".repeat(31) + "\n"));
    file("open.key", 0o644, &"k".repeat(64));
    directory
}

/// What `check` says of a text, without the directory's name.
fn checked(text: &str, json: bool) -> (u8, String, String) {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    fs::write(&path, text).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(&path, json, false, &mut out, &mut err).unwrap();
    let prefix = format!("{}/", directory.path().display());
    let clean = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&prefix, "");
    (code, clean(out), clean(err))
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    cases
}

/// A test that writes its expectations where `BLESS` is set, and else compares them.
fn compare(path: &Path, found: &str) -> bool {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != found {
        println!("--- {} should be\n{expected}\n--- and is\n{found}", path.display());
    }
    expected == found
}

#[test]
fn every_bad_file_gets_exactly_its_report() {
    let cases = cases();
    assert!(!cases.is_empty());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|path| {
            let (code, out, err) = checked(&fs::read_to_string(path).unwrap(), false);
            let found = format!("exit {code}\n{err}{out}");
            !compare(&path.with_extension("txt"), &found)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_example_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    assert!(compare(&path, &example()), "run this test with BLESS=1");
}

#[test]
fn the_example_is_good() {
    let (code, _, err) = checked(&example(), false);
    assert_eq!((code, err.as_str()), (0, ""));
}
