//! How each type of option is read from the file.
//!
//! A reader says whether the one value is well formed; whether the values fit each other is judged in
//! [`build`](super::build). Each adds what is wrong to the faults and goes on: of a list every element is looked at.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use super::declare::{Opt, Read, Value, mismatch};
use super::fault::{Faults, Span, Wrong};
use super::nearest::suggest;
use super::options::{Policy, Secret};
use super::units::{self, Size, SizeLimit};
use super::upstream_address::Address;
use crate::policy::claims::ClaimPath;
use crate::policy::dialect::{Compare, DIALECTS, Dialect};
use crate::policy::jwt::Algorithm;
use crate::policy::permit::{Requirement, Scalar};
use crate::policy::route::{HostPattern, RoutePattern};

/// A value with its place, where a later step may have to point at it.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A string that says something: not empty, no control characters, no blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// One value, or a list of at least one.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<At<T>>);

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(pub(super) f64);

/// A table per name, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, T)>);

/// A dialect of the table, by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct DialectName(pub(super) &'static Dialect);

/// A secret that stands elsewhere. Written here in clear, it is refused and masked.
#[derive(Debug)]
pub(super) struct Hidden(pub(super) Secret);

/// The claims a policy asks for.
#[derive(Debug)]
pub(super) struct ClaimRules(pub(super) Vec<Requirement>);

/// The headers that tell an upstream who calls: name and claim.
#[derive(Debug)]
pub(super) struct ForwardedClaims(pub(super) Vec<(At<String>, ClaimPath)>);

/// What a route says of its policy.
#[derive(Debug)]
pub(super) enum PolicyChoice {
    /// No credential is looked at.
    Public,
    /// The policy of that name.
    Named(At<String>),
    /// Written in place.
    Inline(Box<Policy>, Span),
}

/// Declares a closed list of words.
macro_rules! choices {
    ($($(#[doc = $about:literal])+ $vis:vis enum $Name:ident { $($(#[doc = $doc:literal])+ $Variant:ident = $word:literal,)+ })+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $Name { $($(#[doc = $doc])+ $Variant,)+ }

        impl $Name {
            /// The word in the file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$Variant => $word,)+ }
            }
        }

        impl Read for $Name {
            const EXPECTED: &'static str = "a string";
            fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
                one_of(value, opt, &[$(($word, Self::$Variant)),+], faults)
            }
        }
    )+ };
}

choices! {
    /// The form of log lines.
    pub enum LogFormat {
        /// One JSON object per line.
        Json = "json",
        /// For people.
        Text = "text",
    }

    /// The least severe message that is logged.
    pub enum LogLevel {
        /// What needs somebody now.
        Error = "error",
        /// What will.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }

    /// Which refusals get an access line.
    pub enum RefusalLog {
        /// Every one, whatever the sample.
        All = "all",
        /// The same share as of other requests.
        Sample = "sample",
    }

    /// What becomes of the `Authorization` header of a permitted request.
    pub enum Authorization {
        /// It goes to the upstream.
        Keep = "keep",
        /// It ends here.
        Remove = "remove",
    }
}

impl Read for Compare {
    const EXPECTED: &'static str = "a string";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let words =
            [("exact", Self::Exact), ("prefix", Self::Prefix), ("suffix", Self::Suffix), ("contains", Self::Contains)];
        one_of(value, opt, &words, faults)
    }
}

impl Read for DialectName {
    const EXPECTED: &'static str = "the name of a dialect";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let words: Vec<_> = DIALECTS.iter().map(|dialect| (dialect.name, Self(dialect))).collect();
        one_of(value, opt, &words, faults)
    }
}

/// Declares the types that are a string of a form.
macro_rules! strings {
    ($($T:ty = $expected:literal, $parse:expr;)+) => { $(
        impl Read for $T {
            const EXPECTED: &'static str = $expected;
            fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
                let text = string(value, opt, Self::EXPECTED, faults)?;
                $parse(text).map_err(|wrong: Wrong| faults.fault(&value.span(), wrong.what, wrong.help)).ok()
            }
        }
    )+ };
}

strings! {
    Text = "a string", text;
    Duration = "a duration such as \"30s\"", units::duration;
    Size = "a size such as \"16KiB\"", units::size;
    SizeLimit = "a size such as \"16KiB\", or \"none\"", units::size_limit;
    SocketAddr = "an address and a port such as \"0.0.0.0:8080\"", socket;
    IpNet = "a network such as \"10.0.0.0/8\"", network;
    Url = "an http:// or https:// URL", url;
    Address = "an http:// URL", Address::parse;
    Algorithm = "the name of a signature algorithm", algorithm;
    Method = "a method such as \"GET\"", method;
    HostPattern = "a host such as \"api.example.com\" or \"*.example.com\"", |text| {
        HostPattern::parse(text).map_err(|why| Wrong::new(
            format!("`{text}` is not a host: {why}"),
            "write a host name without port, or `*.` and a domain: \"api.example.com\", \"*.example.com\"",
        ))
    };
    RoutePattern = "a path such as \"/orders/*\"", |text| {
        RoutePattern::parse(text).map_err(|why| Wrong::new(
            format!("`{text}` is not a path pattern: {why}"),
            "write an exact path, with `{name}` for one segment, and `/*` at the end for all beneath: \"/orders/{id}/*\"",
        ))
    };
}

impl Read for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            mismatch(value, opt, Self::EXPECTED, faults);
        }
        found
    }
}

impl Read for u32 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let DeValue::Integer(number) = value.get_ref() else {
            mismatch(value, opt, Self::EXPECTED, faults);
            return None;
        };
        let found = Self::from_str_radix(number.as_str(), number.radix()).ok();
        if found.is_none() {
            let what = format!("`{}` must be from 0 to {}", opt.name, Self::MAX);
            faults.fault(&value.span(), what, opt.help());
        }
        found
    }
}

impl Read for Share {
    const EXPECTED: &'static str = "a number from 0.0 to 1.0";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let found = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                mismatch(value, opt, Self::EXPECTED, faults);
                return None;
            }
        };
        let share = found.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            faults.fault(&value.span(), format!("`{}` must be {}", opt.name, Self::EXPECTED), opt.help());
        }
        share.map(Self)
    }
}

impl<T: Read> Read for At<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        T::read(value, opt, faults).map(|read| Self { value: read, span: value.span() })
    }
}

impl<T: Read> Read for Vec<T> {
    const EXPECTED: &'static str = "a list";
    const OPTIONS: &'static [Opt] = T::OPTIONS;
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let DeValue::Array(list) = value.get_ref() else {
            mismatch(value, opt, Self::EXPECTED, faults);
            return None;
        };
        let read: Self = list.iter().filter_map(|element| T::read(element, opt, faults)).collect();
        // A list of which nothing could be read is not an empty list: that would bring a second, wrong report.
        (list.is_empty() || !read.is_empty()).then_some(read)
    }
}

impl<T: Read> Read for OneOrMany<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        if !value.get_ref().is_array() {
            return At::read(value, opt, faults).map(|one| Self(vec![one]));
        }
        let many = Vec::<At<T>>::read(value, opt, faults)?;
        if many.is_empty() {
            faults.fault(&value.span(), format!("`{}` is an empty list", opt.name), opt.help());
            return None;
        }
        Some(Self(many))
    }
}

impl<T: Read> Read for Named<T> {
    const EXPECTED: &'static str = "a table of tables";
    const OPTIONS: &'static [Opt] = T::OPTIONS;
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut entries = Vec::new();
        for (name, span, body) in members(value, opt, "a table per name", faults)? {
            if !is_name(name) {
                let what = format!("`{name}` cannot be a name: it becomes the label of a metric");
                faults.fault(&span, what, NAME_HELP);
            }
            if let Some(body) = T::read(body, opt, faults) {
                entries.push((At { value: name.to_owned(), span }, body));
            }
        }
        Some(Self(entries))
    }
}

impl Read for Hidden {
    const EXPECTED: &'static str = "a table that names a file or an environment variable";
    const OPTIONS: &'static [Opt] = Secret::OPTIONS;
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            faults.mask(&value.span());
            let what = format!("`{}` holds the secret itself, and everybody who may read the file reads it", opt.name);
            let help = format!(
                "put it in a file or an environment variable: `{0} = {{ file = \"...\" }}` or `{0} = {{ env = \"NAME\" }}`",
                opt.name
            );
            faults.fault(&value.span(), what, help);
            return None;
        };
        for (key, value) in table {
            if !matches!(key.get_ref().as_ref(), "file" | "env") {
                faults.mask(&value.span());
            }
        }
        Secret::read(value, opt, faults).map(Self)
    }
}

impl Read for PolicyChoice {
    const EXPECTED: &'static str = "the name of a policy, \"public\", or an inline table";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                Policy::read(value, opt, faults).map(|policy| Self::Inline(Box::new(policy), value.span()))
            }
            DeValue::String(name) if name == "public" => Some(Self::Public),
            DeValue::String(name) => Some(Self::Named(At { value: name.to_string(), span: value.span() })),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                mismatch(value, opt, Self::EXPECTED, faults);
                None
            }
        }
    }
}

impl Read for ForwardedClaims {
    const EXPECTED: &'static str = "a table of header = claim";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut headers = Vec::new();
        for (header, span, claim) in members(value, opt, Self::EXPECTED, faults)? {
            if let Some(claim) = ClaimPath::read(claim, opt, faults) {
                headers.push((At { value: header.to_owned(), span }, claim));
            }
        }
        Some(Self(headers))
    }
}

impl Read for ClaimPath {
    const EXPECTED: &'static str = "the name of a claim";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let text = string(value, opt, Self::EXPECTED, faults)?;
        claim_path(text, &value.span(), faults)
    }
}

impl Read for ClaimRules {
    const EXPECTED: &'static str = "a table of claim = value, or claim = [values]";
    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let mut rules = Vec::new();
        for (claim, span, wanted) in members(value, opt, Self::EXPECTED, faults)? {
            let claim = claim_path(claim, &span, faults);
            let any_of = match wanted.get_ref() {
                DeValue::Array(_) => Vec::<Scalar>::read(wanted, opt, faults),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Table(_) => Scalar::read(wanted, opt, faults).map(|one| vec![one]),
            };
            let (Some(claim), Some(any_of)) = (claim, any_of) else { continue };
            if any_of.is_empty() {
                let help = "name the values of which the claim must have one, or leave the claim out";
                faults.fault(&wanted.span(), "an empty list: no token could pass", help);
            }
            rules.push(Requirement { claim, any_of });
        }
        Some(Self(rules))
    }
}

impl Read for Scalar {
    const EXPECTED: &'static str = "a string, a number, or true or false";
    fn read(value: &Value<'_>, _: &Opt, faults: &mut Faults) -> Option<Self> {
        let number = |text: &str| text.parse::<serde_json::Number>().ok().map(Self::Number);
        let found = match value.get_ref() {
            DeValue::String(text) => Some(Self::String(text.to_string())),
            DeValue::Boolean(truth) => Some(Self::Bool(*truth)),
            DeValue::Integer(whole) => {
                i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|n| Self::Number(n.into()))
            }
            DeValue::Float(fraction) => number(fraction.as_str()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        if found.is_none() {
            let help = "a name with a dot or a slash stands in quotes: `\"/kubernetes.io/namespace\" = \"shop\"`";
            faults.fault(&value.span(), format!("a claim's value must be {}", Self::EXPECTED), help);
        }
        found
    }
}

/// Whether the word may name an issuer, upstream, policy or route: it becomes a metric's label and part of messages.
pub(super) fn is_name(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What a name may be.
pub(super) const NAME_HELP: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ . -";

/// The entries of a table whose keys are the user's, in the order of the file.
fn members<'v, 'i>(
    value: &'v Value<'i>,
    opt: &Opt,
    expected: &str,
    faults: &mut Faults,
) -> Option<Vec<(&'v str, Span, &'v Value<'i>)>> {
    let DeValue::Table(table) = value.get_ref() else {
        mismatch(value, opt, expected, faults);
        return None;
    };
    let mut members: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    members.sort_by_key(|(_, span, _)| span.start);
    Some(members)
}

fn string<'v>(value: &'v Value<'_>, opt: &Opt, expected: &str, faults: &mut Faults) -> Option<&'v str> {
    let found = value.get_ref().as_str();
    if found.is_none() {
        mismatch(value, opt, expected, faults);
    }
    found
}

fn one_of<T: Copy>(value: &Value<'_>, opt: &Opt, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
    let word = string(value, opt, "a string", faults)?;
    let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    if found.is_none() {
        let known = words.iter().map(|(known, _)| *known);
        faults.fault(&value.span(), format!("`{}` cannot be `{word}`", opt.name), suggest(word, known));
    }
    found
}

fn claim_path(text: &str, span: &Span, faults: &mut Faults) -> Option<ClaimPath> {
    ClaimPath::parse(text)
        .map_err(|why| {
            let help = "write a claim's name, or a JSON Pointer that begins with `/`: \"/realm_access/roles\"";
            faults.fault(span, format!("`{text}` names no claim: {why}"), help);
        })
        .ok()
}

fn text(text: &str) -> Result<Text, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("an empty string", "write a value, or leave the option out"));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("`{}` has blanks at its ends or control characters", text.escape_debug()),
            "the value is compared byte by byte: write it exactly",
        ));
    }
    Ok(Text(text.to_owned()))
}

fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let help = "write an IP address and a port, an IPv6 address in brackets: \"127.0.0.1:8080\", \"[::]:8080\"";
        Wrong::new(format!("`{text}` is not an address and a port"), help)
    })
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    let help = "write an address and the length of its prefix: \"10.0.0.0/8\", \"192.0.2.7/32\"";
    let net: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)))
        .map_err(|_| Wrong::new(format!("`{text}` is not a network"), help))?;
    if net.trunc() != net {
        let help = format!(
            "write \"{}\" for the network, or \"{}\" for that one address",
            net.trunc(),
            IpNet::from(net.addr())
        );
        return Err(Wrong::new(format!("`{text}` is an address within a network"), help));
    }
    Ok(net)
}

fn url(text: &str) -> Result<Url, Wrong> {
    let help = "write the whole address: \"https://login.example.com/jwks\"";
    let url = Url::parse(text).map_err(|why| Wrong::new(format!("`{text}` is not a URL: {why}"), help))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Wrong::new(format!("`{text}` is not an http:// or https:// URL"), help));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("a URL with a user, a password or a fragment", help));
    }
    Ok(url)
}

fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    if text.eq_ignore_ascii_case("none") {
        let help =
            "name what the issuer signs with, for example [\"RS256\", \"ES256\"]; an unsigned token proves nothing";
        return Err(Wrong::new("the algorithm `none` is no signature", help));
    }
    Algorithm::named(text).ok_or_else(|| {
        let known = Algorithm::ALL.iter().map(|algorithm| algorithm.name());
        Wrong::new(format!("`{text}` is not a signature algorithm"), suggest(text, known))
    })
}

fn method(text: &str) -> Result<Method, Wrong> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if !text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(Wrong::new(format!("`{text}` is not a method"), suggest(text, known)));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new(format!("`{text}` is not a method"), suggest(text, known)))
}
