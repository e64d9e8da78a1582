//! `docs/options.md`, written from the declarations: every option, its default and its meaning, by the tables of the file.

use super::declare::{Opt, Read as _, Rule};
use super::options::File;

/// The text of `docs/options.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Options\n\n\
         Every option of the configuration file. [`config.example.toml`](../config.example.toml) has them as TOML, \
         [`config.schema.json`](../config.schema.json) for editors. This page is written from the same declarations that the \
         file is read by.\n",
    );
    for option in File::OPTIONS {
        match option.rule {
            Rule::Named(_) => section(&format!("[{}.NAME]", option.name), option, &mut text),
            Rule::Each => section(&format!("[[{}]]", option.name), option, &mut text),
            Rule::Section | Rule::OffSection => section(&format!("[{}]", option.name), option, &mut text),
            Rule::Required(_) | Rule::Default(_) | Rule::Off(_) | Rule::Usual(_) | Rule::Inline => {}
        }
    }
    text
}

/// The table's own options, then the tables inside it.
fn section(header: &str, table: &Opt, text: &mut String) {
    text.push_str(&format!(
        "\n## `{header}`\n\n{}.\n\n| option | default | meaning |\n|---|---|---|\n",
        capital(table.doc.trim())
    ));
    table.inside.iter().for_each(|option| row("", option, text));
    for inside in table.inside.iter().filter(|option| matches!(option.rule, Rule::Section | Rule::OffSection)) {
        let header = header.trim_end_matches(']');
        section(&format!("{header}.{}]", inside.name), inside, text);
    }
}

fn row(before: &str, option: &Opt, text: &mut String) {
    let name = format!("{before}{}", option.name);
    let default = match option.rule {
        Rule::Section | Rule::OffSection | Rule::Named(_) | Rule::Each => return,
        Rule::Required(sample) => format!("required, as {}", code(sample)),
        Rule::Default(value) => code(value),
        Rule::Off(sample) | Rule::Usual(sample) => format!("off; as {}", code(sample)),
        Rule::Inline => String::new(),
    };
    text.push_str(&format!("| `{name}` | {default} | {} |\n", option.doc.trim().replace('|', "\\|")));
    if !matches!(option.rule, Rule::Inline) && option.inside.is_empty() {
        return;
    }
    option.inside.iter().for_each(|inside| row(&format!("{name}."), inside, text));
}

fn code(toml: &str) -> String {
    format!("`{}`", toml.replace('|', "\\|"))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
