//! What holds of the command line as a whole, and the demo.

use crate::{Files, bearward};

#[test]
fn the_version_is_the_crates() {
    let done = bearward(&["--version"]);
    let commit = option_env!("BEARWARD_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    assert_eq!((done.code, done.out), (0, format!("bearward {}{commit}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn help_names_every_command_and_its_options() {
    let done = bearward(&["--help"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    for command in ["run", "check", "explain", "inspect", "demo", "init", "schema"] {
        assert!(done.out.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{}", done.out);
    }
    for (command, options) in [
        ("run", &["--config", "BEARWARD_CONFIG"][..]),
        ("check", &["--config", "BEARWARD_CONFIG", "--online", "--json"]),
        (
            "explain",
            &["--config", "--method", "--url", "--token-file", "--cookie-file", "--header", "--online", "--json"],
        ),
        ("inspect", &["--config", "BEARWARD_CONFIG", "--jwks", "TOKEN-FILE", "--json"]),
        ("demo", &["--dialect", "--check"]),
        ("init", &["--issuer"]),
    ] {
        let done = bearward(&[command, "--help"]);
        assert_eq!(done.code, 0);
        assert!(options.iter().all(|option| done.out.contains(option)), "{command}: {}", done.out);
        assert_eq!(done.out, bearward(&["help", command]).out);
        let lines: Vec<_> = done.out.lines().collect();
        assert_eq!(lines[1], "", "{command}: one line on what it is for");
        assert!(lines[2].starts_with(&format!("Example: bearward {command}")), "{command}: {}", done.out);
    }
}

/// The README's table names every command, each with the options it is written with.
#[test]
fn the_readme_names_every_command() {
    let readme = include_str!("../../README.md");
    let rows: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("| `bearward ")).collect();
    let named: Vec<_> = rows.iter().filter_map(|row| row.split([' ', '`']).next()).collect();
    let help = bearward(&["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    // A line that goes on is indented further.
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<_> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert_eq!(named, commands);
    for (row, command) in rows.iter().zip(commands) {
        let options = bearward(&["help", command]).out;
        let (usage, _) = row.split_once("` |").unwrap();
        for option in usage.split([' ', '[', ']', '|']).filter(|word| word.starts_with("--")) {
            assert!(options.contains(option), "{command} {option}");
        }
    }
}

#[test]
fn packages_get_completions_and_a_page_for_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = bearward(&["completions", shell]);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{shell}");
        assert!(done.out.contains("explain") && done.out.contains("token-file"), "{shell}: {}", done.out);
    }
    let directory = tempfile::TempDir::new().unwrap();
    let pages = directory.path().join("man1");
    let done = bearward(&["man", pages.to_str().unwrap()]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "", ""));
    for command in ["run", "check", "explain", "inspect", "demo", "init", "schema"] {
        let page = std::fs::read_to_string(pages.join(format!("bearward-{command}.1"))).unwrap();
        assert!(page.contains(&format!("bearward\\-{command}")), "{page}");
    }
    let whole = std::fs::read_to_string(pages.join("bearward.1")).unwrap();
    assert!(whole.contains(".SH SUBCOMMANDS"), "{whole}");
    let nowhere = bearward(&["man", "/dev/null/man1"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.err.starts_with("error: cannot write: "), "{}", nowhere.err);
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let files = Files::new();
    let missing = files.0.path().join("missing.toml");
    for arguments in [
        &[][..],
        &["serve"],
        &["help", "serve"],
        &["schema", "--json"],
        &["run"],
        &["run", "--config"],
        &["check", "--config", missing.to_str().unwrap()],
        &["run", "--config", missing.to_str().unwrap()],
        &["explain", "--config", missing.to_str().unwrap(), "--url", "http://a/"],
        &["explain", "--config", missing.to_str().unwrap()],
        &["demo", "--dialect", "nonsense"],
        &["demo", "--dialect", "nonsense", "--check"],
    ] {
        let done = bearward(arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!done.err.is_empty(), "{arguments:?}");
    }
    let done = bearward(&["demo", "--dialect", "nonsense"]);
    assert!(done.err.contains("\"nonsense\"") && done.err.contains("auth0"), "{}", done.err);
}

#[test]
fn the_schema_is_the_one_that_is_kept() {
    let done = bearward(&["schema"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert_eq!(done.out, include_str!("../../config.schema.json"));
}

#[test]
fn the_demo_checks_itself() {
    let done = bearward(&["demo", "--check", "--dialect", "auth0"]);
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<_> = done.out.lines().collect();
    let (last, outcomes) = lines.split_last().unwrap();
    assert_eq!(*last, format!("{0} of {0} outcomes are as told", outcomes.len()));
    assert!(outcomes.iter().all(|line| line.starts_with("ok    auth0: ")), "{}", done.out);
    for code in ["id_token_presented", "token_expired", "audience_wrong", "scope_insufficient", "signature_invalid"] {
        assert!(outcomes.iter().any(|line| line.contains(code)), "{code}: {}", done.out);
    }
}

/// Without a dialect every one of them is tried.
#[test]
fn the_demo_checks_every_dialect() {
    let done = bearward(&["demo", "--check"]);
    assert_eq!(done.code, 0, "{done:?}");
    for dialect in ["rfc9068", "forgerock", "forgerock-express", "genauth", "auth0"] {
        assert!(done.out.contains(&format!("ok    {dialect}: an access token: 200")), "{dialect}: {}", done.out);
    }
}
