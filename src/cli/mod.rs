//! The command line: what was asked, and the exit code it ends with.
//!
//! 0: done (`explain`: permitted; `inspect`: the signature holds; `demo --check`: every outcome as it should be).
//! 1: failed (`explain`: refused; `check --online`: an issuer will not do). 2: wrong usage or configuration. Reports go to
//! standard output, messages to standard error. Arguments are seen by every process of the machine, so a token among them
//! is refused and not repeated.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::inspect::InspectArguments;

mod asking;
pub mod check;
pub mod demo;
pub mod explain;
pub mod init;
pub mod inspect;
pub mod manual;
pub mod run;
pub mod schema;
mod token_text;

/// Lets a request through to your API only with a proven access token, and says why when it does not.
#[derive(Debug, Parser)]
#[command(name = "bearward", version = version(), propagate_version = true, help_template = HELP, before_help = FIRST_STEPS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. SIGHUP or a changed file reloads; SIGTERM drains, a second one stops at once.
    #[command(help_template = HELP, before_help = example("bearward run --config bearward.toml"))]
    Run(ConfigFile),
    /// Report every fault of a configuration, then the effective policy of every route, and warnings.
    #[command(help_template = HELP, before_help = example("bearward check --config bearward.toml"))]
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Ask each issuer too, as `run` will. Exit code 1: one of them will not do.
        #[arg(long)]
        online: bool,
        /// Report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell the decision on one request step by step. Exit code 0: permitted, 1: refused.
    #[command(help_template = HELP, before_help = example("bearward explain --config bearward.toml --url http://a/orders/7 --token-file token"))]
    Explain(ExplainArguments),
    /// Tell what a token says and which kind it is, offline. Exit code 0: its signature holds, 1: else.
    #[command(help_template = HELP, before_help = example("bearward inspect --jwks keys.json token"))]
    Inspect(InspectArguments),
    /// Run an embedded issuer, a sample API and the gateway, with ready-made curl lines for every outcome.
    #[command(help_template = HELP, before_help = example("bearward demo --dialect auth0"))]
    Demo {
        /// How the issuer's tokens look: rfc9068 unless said; `--check` tries all.
        #[arg(long, value_name = "NAME")]
        dialect: Option<String>,
        /// Try every outcome over real sockets instead, and exit by the result.
        #[arg(long)]
        check: bool,
    },
    /// Ask an issuer, and print a small configuration to start from.
    #[command(help_template = HELP, before_help = example("bearward init --issuer https://login.example.com/ > bearward.toml"))]
    Init {
        /// The issuer, as the `iss` of its tokens names it.
        #[arg(long, value_name = "URL")]
        issuer: String,
    },
    /// Print the JSON Schema (draft-07) of the configuration file, for editors.
    #[command(help_template = HELP, before_help = example("bearward schema > config.schema.json"))]
    Schema,
    /// Print the script that completes commands and options in a shell.
    #[command(hide = true, help_template = HELP, before_help = example("bearward completions bash"))]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command.
    #[command(hide = true, help_template = HELP, before_help = example("bearward man man1"))]
    Man {
        /// Where to.
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "BEARWARD_CONFIG")]
    config: PathBuf,
}

/// What `explain` is asked.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's URL, as the client would write it.
    #[arg(long)]
    url: String,
    /// The file that holds the token; `-` reads it from standard input. Never a token itself.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The file that holds what a browser sends as `Cookie`. Never a cookie itself.
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,
    /// A further header field, as `Name: value`.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Ask the issuer for its keys, as `run` does.
    #[arg(long)]
    online: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// What it is for, how it is written, and only then the options.
const HELP: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const FIRST_STEPS: &str = "\
Examples:
  bearward demo                            every outcome, to try out
  bearward init --issuer URL               a configuration to start from
  bearward check --config bearward.toml    what is wrong with a file, or what it does
  bearward run --config bearward.toml      serve";

fn example(line: &str) -> String {
    format!("Example: {line}")
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    if std::env::args_os().skip(1).any(|argument| holds_token(&argument.to_string_lossy())) {
        // Before the parser, which repeats what it does not know.
        complain(
            "error: a token stands in the arguments, where other processes of this machine can read it\n\
             help: put it into a file and name that, or pipe it in\n",
        );
        return ExitCode::from(WRONG);
    }
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(file) => run::run(&file.config),
        Command::Check { file, online, json } => {
            let how = check::How { online, json, colour: colour_on_stderr() };
            let done = check::run(&file.config, how, &mut io::stdout(), &mut io::stderr());
            done.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Demo { dialect, check } => demo::run(dialect.as_deref(), check),
        Command::Init { issuer } => init::run(&issuer),
        Command::Schema => written(schema::run(&mut io::stdout())),
        Command::Completions { shell } => written(manual::completions(shell, &mut io::stdout())),
        Command::Man { directory } => written(manual::man(&directory)),
    }
}

/// The crate's version, and the commit it was built from where the build was told that by `BEARWARD_COMMIT`.
fn version() -> String {
    let commit = option_env!("BEARWARD_COMMIT").filter(|commit| !commit.is_empty());
    commit.map_or_else(
        || env!("CARGO_PKG_VERSION").to_owned(),
        |commit| format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    )
}

fn written(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot write: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a wrong usage or configuration.
const WRONG: u8 = 2;

/// Whether messages may be coloured: a person reads them, and did not say no (<https://no-color.org>).
fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Reads a file that holds a token; standard input where there is no name, or `-`.
fn read_token(file: Option<&Path>) -> Result<String, String> {
    let bytes = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => std::fs::read(file),
        None => {
            if io::stdin().is_terminal() {
                complain("paste the token, then end the input with Ctrl-D on a line of its own\n");
            }
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
    };
    // Its name is not told: it may be a token that was taken for one.
    let bytes = bytes.map_err(|why| format!("the token file cannot be read: {why}"))?;
    String::from_utf8(bytes).map_err(|_| "the token file cannot be read: it is not UTF-8 text".to_owned())
}

/// Writes a message for people to standard error. Where that is closed there is nobody to tell.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether a word of the argument looks like a JWT: its header begins with `{"`, and a second part follows.
fn holds_token(argument: &str) -> bool {
    let of_a_token = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let mut words = argument.split(|char| !of_a_token(char));
    words.any(|word| word.starts_with("eyJ") && word.contains('.') && word.len() > 20)
}
