//! The rules that hold the source together, kept by tests.

#![allow(unreachable_pub, reason = "a test has no public surface")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic, its helpers too")]

mod proofs;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use bearward::config::Config;
use bearward::demo::providers;
use bearward::policy::dialect::DIALECTS;
use bearward::policy::reject::{Challenge, Code};
use source::{File, Mention, files, mentions, root, walk};

/// The row of `src/lib.rs`: a module uses only what stands to its left.
const LAYERS: [&str; 9] = ["policy", "telemetry", "config", "remote", "gateway", "server", "demo", "cli", "main"];

#[test]
fn every_module_uses_only_what_stands_to_its_left() {
    let files = files();
    let mut faults = Vec::new();
    for file in &files {
        let place = LAYERS.iter().position(|layer| *layer == file.layer);
        for mention in &file.mentions {
            if let Some(used) = layer_used(mention) {
                let stands = LAYERS.iter().position(|layer| layer == used);
                // Within its own layer a module is free.
                let allowed = place.is_some() && stands.is_some_and(|stands| Some(stands) <= place);
                if !allowed {
                    faults.push(fault(file, mention, &format!("is no layer to the left of `{}`", file.layer)));
                }
            }
            if leaves_the_crate_root(mention) {
                faults.push(fault(file, mention, "leaves its layer by `super`: write `crate::`"));
            }
        }
    }
    assert_none(&faults);
    assert!(
        files.iter().flat_map(|file| &file.mentions).filter_map(layer_used).count() > 20,
        "too few paths were seen"
    );
}

/// `crate::X` and, in the binary, `bearward::X`.
fn layer_used(mention: &Mention) -> Option<&String> {
    let [root, layer, ..] = mention.names.as_slice() else { return None };
    matches!(root.as_str(), "crate" | "bearward").then_some(layer)
}

fn leaves_the_crate_root(mention: &Mention) -> bool {
    let ups = mention.names.iter().skip_while(|name| *name == "self").take_while(|name| *name == "super").count();
    ups > 0 && ups >= mention.depth
}

#[test]
fn paths_are_seen_wherever_they_stand() {
    let text = r#"
        //! crate::comment
        use crate::{policy::jwt, server::{self, tls}};
        #[cfg(test)]
        mod tests { use super::super::cli; }
        fn f(now: ::std::time::Instant) -> crate::Out { log!("crate::text", crate::cli::run::<u8>()); super::up() }
    "#;
    let seen: Vec<String> = mentions(text, 2, false)
        .unwrap()
        .iter()
        .filter(|mention| mention.names.len() > 1)
        .map(|mention| format!("{}{}", if mention.in_test { "test " } else { "" }, mention.names.join("::")))
        .collect();
    let expected = [
        "crate::policy::jwt",
        "crate::server::self",
        "crate::server::tls",
        "test super::super::cli",
        "std::time::Instant",
        "crate::Out",
        "crate::cli::run",
        "super::up",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_crate_is_these_layers_and_nothing_else() {
    let mut modules: Vec<String> = files().into_iter().map(|file| file.layer).filter(|layer| layer != "lib").collect();
    modules.dedup();
    let mut layers = LAYERS.map(str::to_owned).to_vec();
    layers.sort();
    assert_eq!(modules, layers);
    let row = LAYERS.join(" | ");
    let docs = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(docs.contains(&row), "src/lib.rs does not draw the row {row}");
}

#[test]
fn policy_is_pure() {
    let ours = ["http", "url", "serde", "serde_json", "aws_lc_rs", "base64", "jiff"];
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let mut foreign: Vec<String> =
        manifest["dependencies"].as_table().unwrap().keys().map(|k| k.replace('-', "_")).collect();
    foreign.retain(|name| !ours.contains(&name.as_str()));
    foreign.extend(["rand", "getrandom"].map(str::to_owned));

    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.layer == "policy") {
        for mention in file.mentions.iter().filter(|mention| !mention.in_test) {
            if mention.names.len() > 1 && foreign.contains(&mention.names[0]) {
                faults.push(fault(file, mention, "is none of the crates that policy may know"));
            }
            if IMPURE.iter().any(|names| mention.holds(names)) {
                faults.push(fault(file, mention, "is not a function of its arguments"));
            }
        }
    }
    assert_none(&faults);
}

/// A clock, a socket, a file, the process around us, randomness, output, waiting, and memory of former calls.
const IMPURE: [&[&str]; 25] = [
    &["Instant"],
    &["SystemTime", "now"],
    &["elapsed"],
    &["std", "fs"],
    &["fs", "read"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["ToSocketAddrs"],
    &["SystemRandom"],
    &["aws_lc_rs", "rand"],
    &["Timestamp", "now"],
    &["println"],
    &["eprintln"],
    &["stdout"],
    &["stderr"],
    &["async"],
    &["Mutex"],
    &["RwLock"],
    &["RefCell"],
    &["OnceLock"],
    &["thread_local"],
];

#[test]
fn files_say_what_they_are_for() {
    let mut faults = Vec::new();
    for file in files() {
        let is_code = file.path.extension().is_some_and(|extension| extension == "rs");
        if is_code && !file.text.starts_with("//! ") {
            faults.push(format!("{}:1: does not open with `//!`", file.path.display()));
        }
        let vague = ["util", "utils", "common", "helper", "helpers", "types", "misc"];
        if file.path.with_extension("").iter().any(|name| vague.iter().any(|word| name == *word)) {
            faults.push(format!("{}: the name says nothing", file.path.display()));
        }
    }
    assert_none(&faults);
}

/// The compiler does not see a file that no module names, and neither would anybody else.
#[test]
fn every_file_is_a_module() {
    let mut faults = Vec::new();
    for directory in ["src", "tests", "benches"] {
        for file in
            walk(Path::new(directory)).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"))
        {
            let name = match file.file_stem().and_then(|stem| stem.to_str()).unwrap() {
                "mod" => file.parent().unwrap(),
                _ => &file,
            };
            if !is_named(name) && !is_named_by_path(&file) && !is_a_crate(&file) {
                faults.push(format!("{}: no module names it", file.display()));
            }
        }
    }
    assert_none(&faults);
}

/// Whether one of the files that may do so says `mod NAME;`.
fn is_named(module: &Path) -> bool {
    let name = module.file_stem().unwrap();
    let directory = module.parent().unwrap();
    let beside = walk(directory).into_iter().filter(|file| file.parent() == Some(directory));
    let parents = beside.chain([directory.with_extension("rs")]);
    let named = format!("mod {};", name.to_str().unwrap());
    let names_it =
        |text: String| text.lines().any(|line| line.trim_start().trim_start_matches("pub ").ends_with(&named));
    parents.filter_map(|file| fs::read_to_string(root().join(file)).ok()).any(names_it)
}

/// Whether a crate one directory above says `#[path = "directory/file.rs"]`.
fn is_named_by_path(file: &Path) -> bool {
    let Some(above) = file.parent().and_then(Path::parent) else { return false };
    let named = format!("#[path = \"{}\"]", file.strip_prefix(above).unwrap().display());
    let crates = walk(above).into_iter().filter(|file| file.parent() == Some(above));
    crates.filter_map(|file| fs::read_to_string(root().join(file)).ok()).any(|text| text.contains(&named))
}

/// The root of a library, a program, a test or a bench.
fn is_a_crate(file: &Path) -> bool {
    let directory = file.parent().and_then(Path::to_str).unwrap();
    file.ends_with("main.rs") || file.ends_with("lib.rs") || ["tests", "benches"].contains(&directory)
}

#[test]
fn the_readme_tells_every_code() {
    let mut table = String::from("| code | status | grpc | challenge | what it means |\n|---|---|---|---|---|\n");
    for code in Code::ALL {
        let facts = code.facts();
        let challenge = match facts.challenge {
            Challenge::None => "none".to_owned(),
            Challenge::Bare => "bare".to_owned(),
            Challenge::InvalidRequest | Challenge::InvalidToken | Challenge::InsufficientScope => {
                format!("`{}`", facts.challenge.error().unwrap())
            }
        };
        let row =
            format!("| `{}` | {} | {} | {challenge} | {} |\n", facts.name, facts.status, facts.grpc, facts.detail);
        table.push_str(&row);
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let found: String = readme
        .split_inclusive('\n')
        .skip_while(|line| !line.starts_with("| code |"))
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(found, table, "README.md must hold this table of codes:\n{table}");
}

#[test]
fn the_readme_names_every_dialect() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("\nDialects: ").unwrap();
    let (list, _) = rest.split_once(';').unwrap();
    let named: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches('`')).collect();
    let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
    assert_eq!(named, known, "README.md must name these dialects");
}

/// The README and every page of `docs`, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = walk(&root().join("docs"));
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    assert!(pages.len() >= 2, "too few pages were seen");
    pages.push(root().join("README.md"));
    pages.into_iter().map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

#[test]
fn the_readmes_configuration_is_accepted() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (configuration, _) = rest.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bearward.toml");
    fs::write(&file, configuration).unwrap();
    let loaded = Config::load(&file).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert_eq!(loaded.warnings.render(false), "");
}

#[test]
fn the_links_of_the_pages_lead_to_files() {
    let mut seen = 0;
    let mut dead = Vec::new();
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !page.with_file_name("").join(file).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
            seen += 1;
        }
    }
    assert_none(&dead);
    assert!(seen > 5, "too few links were seen");
}

#[test]
fn the_test_command_tours_every_dialect_of_the_demo() {
    let command = fs::read_to_string(root().join("tests/run")).unwrap();
    let toured = command.lines().find_map(|line| line.trim().strip_prefix("for dialect in ")?.strip_suffix("; do"));
    let mut toured: Vec<&str> = toured.unwrap().split(' ').collect();
    let mut dialects: Vec<&str> = providers().unwrap().iter().map(|provider| provider.dialect.as_str()).collect();
    toured.sort_unstable();
    dialects.sort_unstable();
    assert_eq!(toured, dialects);
}

#[test]
fn nothing_points_out_of_the_repository() {
    // Written so that this file does not find itself.
    let outside = concat!("..", "/shared");
    let points = |path: &Path| {
        let content = fs::read(root().join(path)).unwrap();
        String::from_utf8_lossy(&content).contains(outside)
    };
    let faults: Vec<String> =
        walk(Path::new("")).into_iter().filter(|path| points(path)).map(|path| path.display().to_string()).collect();
    assert_none(&faults);
}

fn fault(file: &File, mention: &Mention, why: &str) -> String {
    format!("{}:{}: `{}` {why}", file.path.display(), mention.line, mention.names.join("::"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
