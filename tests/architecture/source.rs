//! The source as a list of paths: what each place of each file names.
//!
//! Read as tokens, so that comments and strings do not count and the inside of macros does.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, LexError, Spacing, TokenStream, TokenTree};

/// A path as it is written, a `use` with braces taken apart: `use std::{fs, io::Read}` is `std::fs` and `std::io::Read`.
pub struct Mention {
    pub names: Vec<String>,
    pub line: usize,
    /// How many modules lie around it: 0 in `lib.rs`, 1 in `src/policy/mod.rs`, 2 in `src/policy/jwt.rs`.
    pub depth: usize,
    /// Under `#[cfg(test)]`.
    pub in_test: bool,
}

impl Mention {
    /// Whether these names stand in it side by side.
    pub fn holds(&self, names: &[&str]) -> bool {
        self.names.windows(names.len()).any(|window| window.iter().zip(names).all(|(ours, theirs)| ours == theirs))
    }
}

/// A file of `src/`.
pub struct File {
    /// Relative to the repository.
    pub path: PathBuf,
    /// The top-level module that it belongs to: `policy`, `main`; `lib` for the root itself.
    pub layer: String,
    pub text: String,
    pub mentions: Vec<Mention>,
}

/// Every file of `src/`.
pub fn files() -> Vec<File> {
    walk(Path::new("src"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(read)
        .collect()
}

/// Every file under a directory of the repository, but what is built, fetched or Git's.
pub fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_file() && entry.file_name() != ".git" {
            found.push(path);
        } else if kind.is_dir() && !["target", "node_modules", ".git"].iter().any(|name| entry.file_name() == *name) {
            found.extend(walk(&path));
        }
    }
    found.sort();
    found
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: PathBuf) -> File {
    let text = fs::read_to_string(root().join(&path)).unwrap();
    let inside = path.strip_prefix("src").unwrap();
    let modules: Vec<String> = inside.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    let in_test = modules.iter().any(|name| name == "tests");
    let depth = modules.iter().filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).count();
    let mentions = mentions(&text, depth, in_test).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    File { layer: modules[0].clone(), path, text, mentions }
}

/// What a text of that depth names.
pub fn mentions(text: &str, depth: usize, in_test: bool) -> Result<Vec<Mention>, LexError> {
    let mut mentions = Vec::new();
    Reader { depth, in_test, out: &mut mentions }.read(text.parse()?, &[]);
    Ok(mentions)
}

struct Reader<'a> {
    depth: usize,
    in_test: bool,
    out: &'a mut Vec<Mention>,
}

impl Reader<'_> {
    /// Reads a stream whose paths go on from `prefix`, which is not empty inside the braces of a `use`.
    fn read(&mut self, stream: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut names: Vec<String> = prefix.to_vec();
        let mut line = 1;
        let mut joined = !prefix.is_empty();
        let mut test_item = false;
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(name) => {
                    if !joined {
                        self.emit(&mut names, line);
                    }
                    names.push(name.to_string());
                    line = name.span().start().line;
                    joined = false;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    let second = matches!(&tokens[..index], [.., TokenTree::Punct(first)]
                        if first.as_char() == ':' && first.spacing() == Spacing::Joint);
                    if !second && punct.spacing() == Spacing::Alone {
                        // A type stands after this one, not the rest of a path.
                        self.emit(&mut names, line);
                    }
                    joined = second;
                }
                TokenTree::Punct(punct) => {
                    self.emit(&mut names, line);
                    let next_in_braces = punct.as_char() == ',' && !prefix.is_empty();
                    joined = next_in_braces;
                    if next_in_braces {
                        names = prefix.to_vec();
                    }
                    test_item &= punct.as_char() != ';';
                }
                TokenTree::Group(group) if joined && group.delimiter() == Delimiter::Brace => {
                    self.read(group.stream(), &names);
                    names.clear();
                    joined = false;
                }
                TokenTree::Group(group) => {
                    let is_module = matches!(&tokens[..index], [.., TokenTree::Ident(word), _] if word == "mod");
                    self.emit(&mut names, line);
                    let mut inner = Reader {
                        depth: self.depth + usize::from(is_module),
                        in_test: self.in_test || test_item,
                        out: self.out,
                    };
                    inner.read(group.stream(), &[]);
                    joined = false;
                    let marks_test = group.delimiter() == Delimiter::Bracket && group.to_string() == "[cfg (test)]";
                    test_item = marks_test || (test_item && group.delimiter() != Delimiter::Brace);
                }
                TokenTree::Literal(_) => {
                    self.emit(&mut names, line);
                    joined = false;
                }
            }
        }
        if names.len() > prefix.len() {
            self.emit(&mut names, line);
        }
    }

    fn emit(&mut self, names: &mut Vec<String>, line: usize) {
        if !names.is_empty() {
            let names = std::mem::take(names);
            self.out.push(Mention { names, line, depth: self.depth, in_test: self.in_test });
        }
    }
}
