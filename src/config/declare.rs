//! What one declaration of an option is, and what is made of it.
//!
//! `options!` takes a table's options with their types, defaults and doc lines, and makes of it the raw mirror of that
//! table (a [`Field`] per option), its reader, its JSON Schema, and the list that "did you mean", the example file and
//! `check` use. There is no second list.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Faults, Span};
use super::nearest::{likely, suggest, synonyms};
use super::options::File;
use super::schema::Schema;

/// A value of the file, with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    /// Its key.
    pub(super) name: &'static str,
    /// What it is for, in one line.
    pub(super) doc: &'static str,
    /// What holds when it is not in the file.
    pub(super) rule: Rule,
    /// What to write where the sample would name something that the file may not have.
    pub(super) alone: Option<&'static str>,
    /// The options inside, where it is a table.
    pub(super) inside: &'static [Opt],
    /// The shape of its values.
    pub(super) schema: fn() -> Schema,
}

/// What holds for an option that is not in the file. The texts are TOML, read by the same parser as the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// It must be there; for example so.
    Required(&'static str),
    /// This is its default.
    Default(&'static str),
    /// It is off or empty; switched on for example so.
    Off(&'static str),
    /// As `Off`, but what most files have: the example shows it switched on.
    Usual(&'static str),
    /// A small table, written in one line; each option inside has its own rule.
    Inline,
    /// A table with a header of its own.
    Section,
    /// As `Section`, and what it is about is off where the file does not have it.
    OffSection,
    /// One table per name; for example under this name.
    Named(&'static str),
    /// A list of tables.
    Each,
}

impl Rule {
    /// The value that stands in for a missing option.
    fn default(self) -> Option<&'static str> {
        match self {
            Self::Default(text) => Some(text),
            Self::Inline | Self::Section | Self::Named(_) => Some("{}"),
            Self::Each => Some("[]"),
            Self::Required(_) | Self::Off(_) | Self::Usual(_) | Self::OffSection => None,
        }
    }
}

impl Opt {
    /// A table that stands in no other.
    pub(super) const fn root<T: Read>(name: &'static str) -> Self {
        Self { name, doc: "", rule: Rule::Section, alone: None, inside: T::OPTIONS, schema: T::schema }
    }

    /// Whether a table that lacks it is refused.
    pub(super) fn is_required(&self) -> bool {
        matches!(self.rule, Rule::Required(_))
    }

    /// What to write, for a report.
    pub(super) fn help(&self) -> String {
        let name = self.name;
        match self.rule {
            Rule::Required(sample) | Rule::Default(sample) | Rule::Off(sample) | Rule::Usual(sample) => {
                format!("for example `{name} = {}`", self.alone.unwrap_or(sample))
            }
            Rule::Inline | Rule::Section | Rule::OffSection => format!("`{name}` holds {}", listed(self.inside)),
            Rule::Named(sample) => format!("for example `[{name}.{sample}]`, with {}", listed(self.inside)),
            Rule::Each => format!("write `[[{name}]]` for each, with {}", listed(self.inside)),
        }
    }
}

/// A type that an option can have.
pub(super) trait Read: Sized {
    /// What the file must say, for people: `a duration such as "30s"`.
    const EXPECTED: &'static str;
    /// The options inside, where it is a table of them.
    const OPTIONS: &'static [Opt] = &[];
    /// Whether it is a secret, or a list of them: no report repeats what stands in its place.
    const HIDDEN: bool = false;

    /// The shape of its values, as JSON Schema says it.
    fn schema() -> Schema;

    /// Reads the value of `opt`; `None` after adding to `faults` what is wrong with it.
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self>;
}

/// What the file says of one option.
#[derive(Debug)]
pub(super) struct Field<T> {
    /// The value, or the default. `None`: not written and without a default, or written wrongly (and reported).
    pub(super) value: Option<T>,
    /// Where the value stands, or the table it is missing from.
    pub(super) span: Span,
    /// Whether the file says anything of it.
    pub(super) written: bool,
}

impl<T> Field<T> {
    /// It was left out, and there is no default.
    pub(super) fn is_absent(&self) -> bool {
        self.value.is_none() && !self.written
    }
}

/// A table of the file, opened for reading.
pub(super) struct Entries<'v, 'i> {
    table: &'v DeTable<'i>,
    /// Where the table stands: its header, or the inline table.
    span: Span,
}

impl<'v, 'i> Entries<'v, 'i> {
    /// Opens the table, and reports what is in it that is none of `options`.
    pub(super) fn open(value: &'v Value<'i>, opt: &Opt, options: &'static [Opt], faults: &mut Faults) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            mismatch(value, opt, &format!("a table with {}", listed(options)), faults);
            return None;
        };
        for (key, value) in table {
            let name = key.get_ref();
            if options.iter().any(|option| option.name == name) {
                continue;
            }
            if names_a_secret(name) {
                faults.mask(&value.span());
            }
            faults.fault(&key.span(), format!("unknown option `{name}`{}", inside(opt)), instead(name, options));
        }
        Some(Self { table, span: value.span() })
    }

    /// Reads one option of the table.
    pub(super) fn field<T: Read>(&self, opt: &Opt, faults: &mut Faults) -> Field<T> {
        if let Some((_, value)) = self.table.get_key_value(opt.name) {
            return Field { value: T::read(value, opt, faults), span: value.span(), written: true };
        }
        if let Rule::Required(sample) = opt.rule {
            let help = format!("add `{} = {}` ({})", opt.name, opt.alone.unwrap_or(sample), opt.doc.trim());
            faults.fault(&self.span, format!("`{}` is missing", opt.name), help);
        }
        let value = opt.rule.default().and_then(|text| match DeValue::parse(text) {
            // The default's places would be those of its own text: it takes the place of the table.
            Ok(value) => T::read(&Spanned::new(self.span.clone(), value.into_inner()), opt, faults),
            Err(wrong) => {
                faults.fault(&self.span, format!("the default of `{}`: {wrong}", opt.name), "this is a defect of ours");
                None
            }
        });
        Field { value, span: self.span.clone(), written: false }
    }
}

/// Whether what stands under such a key may be a secret, known to us or not.
pub(super) fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let is_about_one = ["_bytes", "_file"].iter().any(|end| key.ends_with(end));
    let hints = ["secret", "pass", "private", "token", "bearer", "credential", "key"];
    !is_about_one && hints.iter().any(|hint| key.contains(hint))
}

/// Reports a value of another type than the option's.
pub(super) fn mismatch(value: &Value<'_>, opt: &Opt, expected: &str, faults: &mut Faults) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    faults.fault(&value.span(), format!("`{}` must be {expected}, not {found}", opt.name), opt.help());
}

/// What to write instead of an unknown option: a likely one of this table, or where it belongs.
fn instead(name: &str, options: &[Opt]) -> String {
    let known: Vec<_> = options.iter().map(|option| option.name).collect();
    let elsewhere = || {
        let homes = homes_of(name).map(|homes| format!("it belongs in {homes}"));
        homes.or_else(|| {
            synonyms(name).find_map(|ours| {
                let (_, option) = ours.split_once('.').unwrap_or(("", ours));
                Some(format!("it is called `{option}`, and belongs in {}", homes_of(option)?))
            })
        })
    };
    let elsewhere = if likely(name, &known).is_none() { elsewhere() } else { None };
    elsewhere.unwrap_or_else(|| suggest(name, known))
}

/// The tables that have an option of that name; none where they are so many that nobody is helped.
fn homes_of(name: &str) -> Option<String> {
    let homes = homes(name, File::OPTIONS, "");
    (1..=4).contains(&homes.len()).then(|| homes.join(" or "))
}

/// The headers of the tables that have an option of that name.
fn homes(name: &str, options: &[Opt], above: &str) -> Vec<String> {
    let mut found = Vec::new();
    for option in options {
        let path = match option.rule {
            Rule::Named(_) => format!("{above}{}.NAME", option.name),
            Rule::Required(_)
            | Rule::Default(_)
            | Rule::Off(_)
            | Rule::Usual(_)
            | Rule::Inline
            | Rule::Section
            | Rule::OffSection
            | Rule::Each => format!("{above}{}", option.name),
        };
        if option.inside.iter().any(|inside| inside.name == name) {
            found.push(if matches!(option.rule, Rule::Each) { format!("`[[{path}]]`") } else { format!("`[{path}]`") });
        }
        found.extend(homes(name, option.inside, &format!("{path}.")));
    }
    found
}

fn listed(options: &[Opt]) -> String {
    options.iter().map(|option| format!("`{}`", option.name)).collect::<Vec<_>>().join(", ")
}

fn inside(opt: &Opt) -> String {
    if opt.name.is_empty() { String::new() } else { format!(" in `{}`", opt.name) }
}

/// The key of an option: its field's name, or another where that is a word of Rust.
macro_rules! key {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $key:literal) => {
        $key
    };
}

/// What to write instead of a sample, where there is such a thing.
macro_rules! alone {
    () => {
        None
    };
    ($alone:literal) => {
        Some($alone)
    };
}

/// Declares tables of options.
macro_rules! options {
    ($(
        $(#[doc = $about:literal])+
        struct $Table:ident {
            $(#[doc = $doc:literal] $name:ident $(as $key:literal)?: $T:ty = $Rule:ident $(($text:literal))? $(or $alone:literal)?;)+
        }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(super) struct $Table {
            $(#[doc = $doc] pub(super) $name: $crate::config::declare::Field<$T>,)+
        }

        impl $crate::config::declare::Read for $Table {
            const EXPECTED: &'static str = "a table";
            const OPTIONS: &'static [Opt] = &[$(Opt {
                name: $crate::config::declare::key!($name $($key)?),
                doc: $doc,
                rule: Rule::$Rule $(($text))?,
                alone: $crate::config::declare::alone!($($alone)?),
                inside: <$T as $crate::config::declare::Read>::OPTIONS,
                schema: <$T as $crate::config::declare::Read>::schema,
            }),+];

            fn schema() -> $crate::config::schema::Schema {
                $crate::config::schema::table(concat!($($about),+), Self::OPTIONS)
            }

            fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
                let entries = Entries::open(value, opt, Self::OPTIONS, faults)?;
                let mut options = Self::OPTIONS.iter();
                Some(Self { $($name: entries.field(options.next()?, faults),)+ })
            }
        }
    )+ };
}

pub(super) use {alone, key, options};
