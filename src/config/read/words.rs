//! Options of which the value is one of a closed list of words.

use super::string;
use crate::config::declare::{Opt, Read, Value};
use crate::config::fault::Faults;
use crate::config::nearest::suggest;
use crate::config::schema::{self, Schema};
use crate::policy::cookies::SameSite;
use crate::policy::dialect::{Compare, DIALECTS, Dialect};
use crate::policy::permit::Mode;

/// A dialect of the table, by its name.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct DialectName(pub(in crate::config) &'static Dialect);

/// Declares a closed list of words.
macro_rules! choices {
    ($($(#[doc = $about:literal])+ $vis:vis enum $Name:ident { $($(#[doc = $doc:literal])+ $Variant:ident = $word:literal,)+ })+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $Name { $($(#[doc = $doc])+ $Variant,)+ }

        impl $Name {
            /// The word in the file.
            $vis fn name(self) -> &'static str {
                match self { $(Self::$Variant => $word,)+ }
            }
        }

        impl Read for $Name {
            const EXPECTED: &'static str = "a string";
            fn schema() -> Schema {
                schema::words([$($word),+])
            }
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

    /// How a client proves to an issuer who it is (OpenID Connect Core section 9).
    pub(in crate::config) enum AuthMethod {
        /// Id and secret in the `Authorization` header (RFC 6749 section 2.3.1).
        ClientSecretBasic = "client_secret_basic",
        /// Id and secret in the body (RFC 6749 section 2.3.1).
        ClientSecretPost = "client_secret_post",
        /// A JWT signed with the client's own key (RFC 7523 section 2.2).
        PrivateKeyJwt = "private_key_jwt",
        /// The id alone.
        None = "none",
    }

    /// Whether a client must show a certificate.
    pub enum ClientCertificateMode {
        /// It may have none; a bad one is refused.
        Optional = "optional",
        /// Without a good one there is no connection.
        Required = "required",
    }

    /// What becomes of the `Authorization` header of a permitted request.
    pub enum Authorization {
        /// It goes to the upstream.
        Keep = "keep",
        /// It ends here.
        Remove = "remove",
    }

    /// Which `Host` an upstream gets.
    pub enum HostField {
        /// The client's.
        Preserve = "preserve",
        /// Its own, as its URL has it.
        Upstream = "upstream",
    }

    /// What becomes of real preflights, where the gateway does not answer them.
    pub(in crate::config) enum PreflightRule {
        /// They are judged like any request.
        Refuse = "refuse",
        /// They go to the upstream.
        Forward = "forward",
    }

    /// What becomes of a percent-encoded slash in a path.
    pub(in crate::config) enum EncodedSlash {
        /// The request is refused.
        Refuse = "refuse",
        /// It stands within its segment.
        Keep = "keep",
    }
}

/// How a mark is compared, by its word.
const COMPARISONS: [(&str, Compare); 4] = [
    ("exact", Compare::Exact),
    ("prefix", Compare::Prefix),
    ("suffix", Compare::Suffix),
    ("contains", Compare::Contains),
];

impl Read for Compare {
    const EXPECTED: &'static str = "a string";
    fn schema() -> Schema {
        schema::words(COMPARISONS.map(|(word, _)| word))
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        one_of(value, opt, &COMPARISONS, faults)
    }
}

/// The modes of a policy.
const MODES: [Mode; 2] = [Mode::Enforce, Mode::Shadow];

impl Read for Mode {
    const EXPECTED: &'static str = "a string";
    fn schema() -> Schema {
        schema::words(MODES.map(Mode::name))
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        one_of(value, opt, &MODES.map(|mode| (mode.name(), mode)), faults)
    }
}

/// When cookies are sent.
const SAME_SITES: [SameSite; 2] = [SameSite::Lax, SameSite::None];

impl Read for SameSite {
    const EXPECTED: &'static str = "a string";
    fn schema() -> Schema {
        schema::words(SAME_SITES.map(SameSite::name))
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        one_of(value, opt, &SAME_SITES.map(|same_site| (same_site.name(), same_site)), faults)
    }
}

impl Read for DialectName {
    const EXPECTED: &'static str = "the name of a dialect";
    fn schema() -> Schema {
        schema::words(DIALECTS.iter().map(|dialect| dialect.name))
    }

    fn read(value: &Value<'_>, opt: &Opt, faults: &mut Faults) -> Option<Self> {
        let words: Vec<_> = DIALECTS.iter().map(|dialect| (dialect.name, Self(dialect))).collect();
        one_of(value, opt, &words, faults)
    }
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
