//! `config.example.toml`, written from the declarations: every option, its default, one line each.
//!
//! What most files have stands plainly; all else is commented out, with its default, or with an example where it is off.

use super::declare::{Opt, Read, Rule};
use super::options::File;

/// The column of the doc lines, where the option is not longer.
const COLUMN: usize = 44;

/// The text of `config.example.toml`.
pub fn example() -> String {
    let mut text = String::from(
        "#:schema ./config.schema.json\n\
         # Every option, its default, and what it is for. What is commented out is the default; after \"off\" or \"default:\" it\n\
         # is an example. Durations: 250ms, 30s, 5m, 7d. Sizes: 16KiB, 1MiB. Paths are relative to this file.\n",
    );
    for option in File::OPTIONS {
        match option.rule {
            Rule::Named(name) => table(&format!("{}.{name}", option.name), option, &mut text),
            Rule::Each => list(option, &mut text),
            Rule::Section | Rule::OffSection => table(option.name, option, &mut text),
            Rule::Required(_) | Rule::Default(_) | Rule::Off(_) | Rule::Usual(_) | Rule::Inline => {
                line(option, &mut text)
            }
        }
    }
    text
}

fn list(option: &Opt, text: &mut String) {
    header(&format!("[[{}]]", option.name), option, text);
    option.inside.iter().for_each(|option| line(option, text));
}

/// The table's own options first: after the header of a table inside it, they would be that one's.
fn table(path: &str, option: &Opt, text: &mut String) {
    header(&format!("[{path}]"), option, text);
    let (sections, lines): (Vec<_>, Vec<_>) =
        option.inside.iter().partition(|option| matches!(option.rule, Rule::Section | Rule::OffSection));
    lines.into_iter().for_each(|option| line(option, text));
    sections.into_iter().for_each(|option| table(&format!("{path}.{}", option.name), option, text));
}

fn header(header: &str, option: &Opt, text: &mut String) {
    text.push('\n');
    documented(header.to_owned(), option, text);
}

fn line(option: &Opt, text: &mut String) {
    let name = option.name;
    let code = match option.rule {
        Rule::Required(value) | Rule::Usual(value) => format!("{name} = {value}"),
        Rule::Default(value) | Rule::Off(value) => format!("# {name} = {value}"),
        Rule::Inline => format!("# {name} = {{ {} }}", defaults(option.inside)),
        Rule::Section | Rule::OffSection | Rule::Named(_) | Rule::Each => return,
    };
    documented(code, option, text);
}

/// The options of a small table, on its line.
fn defaults(options: &[Opt]) -> String {
    let value = |option: &Opt| match option.rule {
        Rule::Default(value) => Some(format!("{} = {value}", option.name)),
        Rule::Required(_)
        | Rule::Off(_)
        | Rule::Usual(_)
        | Rule::Inline
        | Rule::Section
        | Rule::OffSection
        | Rule::Named(_)
        | Rule::Each => None,
    };
    options.iter().filter_map(value).collect::<Vec<_>>().join(", ")
}

fn documented(code: String, option: &Opt, text: &mut String) {
    let doc = option.doc.trim();
    let off = if matches!(option.rule, Rule::Off(_)) && !doc.contains("default:") { "off; " } else { "" };
    text.push_str(&format!("{code:COLUMN$} # {off}{doc}\n"));
}
