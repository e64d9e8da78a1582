//! Why an issuer's keys could not be had: for the operator, with the cure, and as a metric's label.

use std::fmt;

use crate::policy::reject::Quoted;
use crate::remote::http::{BODY_LIMIT, FetchError};
use crate::telemetry::labels::FetchResult;

/// Why a key set could not be had: where, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysError {
    /// The address or the file.
    pub place: String,
    /// What was wrong there.
    pub fault: Fault,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The document could not be fetched.
    Fetch(FetchError),
    /// The file could not be read.
    File(String),
    /// The file is longer than a key set may be.
    FileTooLarge,
    /// The token that the issuer asks for could not be read from its file.
    Bearer(String),
    /// The answer is a page for people.
    Html,
    /// This is no discovery document.
    Document(&'static str),
    /// The discovery document is another issuer's.
    Issuer(Quoted),
    /// The discovery document's `jwks_uri` may not be asked.
    Learned(&'static str),
    /// This is no key set.
    Set(&'static str),
    /// The key set has no key that can be used: those that it has, each with the reason.
    NoUsableKeys(String),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match &self.fault {
            Fault::Fetch(error) => write!(f, "{place}: {error}"),
            Fault::File(why) => write!(f, "{place}: {why}"),
            Fault::FileTooLarge => write!(f, "{place}: the file is longer than {BODY_LIMIT} bytes"),
            Fault::Bearer(why) => write!(f, "{place}: the token of `bearer_file` {why}"),
            Fault::Html => write!(f, "{place}: the answer is an HTML page, not JSON"),
            Fault::Document(why) => write!(f, "{place}: the discovery document {why}"),
            Fault::Issuer(found) => write!(f, "{place}: the discovery document is of the issuer {found}"),
            Fault::Learned(why) => write!(f, "{place}: the `jwks_uri` of the discovery document {why}"),
            Fault::Set(why) => write!(f, "{place}: the key set {why}"),
            Fault::NoUsableKeys(keys) if keys.is_empty() => write!(f, "{place}: the key set is empty"),
            Fault::NoUsableKeys(keys) => write!(f, "{place}: the key set has no usable key: {keys}"),
        }
    }
}

impl KeysError {
    /// What to look at, for the operator.
    pub fn help(&self) -> &'static str {
        match &self.fault {
            Fault::Fetch(FetchError::Status(401 | 403)) => {
                "the issuer asks for a credential: name a file with a token for it as `jwks.bearer_file`"
            }
            Fault::Fetch(FetchError::Timeout) => "see why the issuer is slow, or give its keys as `jwks.file`",
            Fault::Fetch(FetchError::Redirected(_)) => "give the final address as `discovery_url` or `jwks.uri`",
            Fault::Fetch(FetchError::Status(_)) => {
                "open the address from here; if it is wrong, give `discovery_url` or `jwks.uri`"
            }
            Fault::Fetch(error) => error.help(),
            Fault::File(_) => "see that the file of `jwks.file` is there and may be read by this process",
            Fault::FileTooLarge => "this is hardly the right file; see what the configuration names",
            Fault::Bearer(_) => "see that the file is there, may be read by this process and holds one token",
            Fault::Html => "this is often a login or error page; see that the address is the document's own",
            Fault::Document(_) => "give the right address as `discovery_url`, or the keys' own as `jwks.uri`",
            Fault::Issuer(_) => {
                "set `issuer` to the document's own spelling, every byte, if that is the issuer you trust"
            }
            Fault::Learned(_) => "if the address is right all the same, give it as `jwks.uri`",
            Fault::Set(_) => "see that the address is the one of the key set (RFC 7517 section 5)",
            Fault::NoUsableKeys(_) => "let the issuer publish the public keys that it signs with (RFC 7517)",
        }
    }

    /// The value of the metric's label.
    pub fn result(&self) -> FetchResult {
        match &self.fault {
            Fault::Fetch(FetchError::Unreachable(_) | FetchError::Interrupted(_)) => FetchResult::Unreachable,
            Fault::Fetch(FetchError::Timeout) => FetchResult::Timeout,
            Fault::Fetch(FetchError::Redirected(_) | FetchError::Status(_)) => FetchResult::Status,
            Fault::Fetch(FetchError::TooLarge(_)) | Fault::FileTooLarge => FetchResult::TooLarge,
            Fault::Fetch(FetchError::Refused(_)) | Fault::Learned(_) => FetchResult::Refused,
            Fault::File(_) | Fault::Bearer(_) => FetchResult::File,
            Fault::Html | Fault::Document(_) | Fault::Set(_) => FetchResult::Malformed,
            Fault::Issuer(_) => FetchResult::IssuerMismatch,
            Fault::NoUsableKeys(_) => FetchResult::NoUsableKeys,
        }
    }
}
