//! The snapshot of one issuer's keys on disk, from which a gateway can serve that starts while the issuer is down.
//!
//! 1. It holds the usable public keys, and of which issuer, from which source, vouched for by whom and when they were
//!    fetched. It is a JWK Set with further members (RFC 7517 section 5). Private and symmetric keys are in no set, so they
//!    are never written.
//! 2. After each good fetch a new one is written beside it, synced, and takes its place by rename: a crash leaves the old
//!    one or the new one. Nobody waits for that, and where it fails nothing else does.
//! 3. It is believed where nobody else could have written it: file and directory belong to our user or to root, and others
//!    may write to neither. (In a directory with the sticky bit they may: they cannot touch what is not theirs.) Whoever
//!    may write further up can put the directory of an earlier day in place, which rule 4 bounds.
//! 4. It is believed where it is of this issuer's first spelling, of this source and of these authorities (keys that came by
//!    a way that is trusted no longer must not come back), not from the future, and younger than `max_stale`.
//! 5. What stands at its place and is no snapshot is left alone.
//!
//! What is not believed is told once, with the cure; then all goes on as if there were none.

mod trust;
mod writer;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use serde_json::json;

pub(super) use self::writer::Writer;
use super::source::{KeySource, Origin};
use crate::config::Authorities;
use crate::policy::json::{Json, Object};
use crate::policy::jwk::JwkSet;
use crate::policy::reject::Quoted;
use crate::remote::http::BODY_LIMIT;

/// What tells a snapshot from any other file: the value of its member `format`.
const FORMAT: &str = "bearward jwks snapshot 1";

/// How far the clock of the machine that wrote it may go before ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What a snapshot holds.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The set, with at least one usable key.
    pub(super) keys: JwkSet,
    /// When it was fetched from its source.
    pub(super) fetched: SystemTime,
    /// How long ago that was; less than `max_stale`.
    pub(super) age: Duration,
}

/// Why a snapshot is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    /// Its directory cannot be looked at, or is not ours alone.
    Directory(String),
    /// It cannot be read.
    Unreadable(String),
    /// What stands there is something else.
    NoSnapshot,
    /// Others could have written it.
    Forgeable(&'static str),
    /// It is of another issuer or source, or of other authorities.
    Other(&'static str, Quoted),
    /// It was fetched later than now.
    Future,
    /// It was fetched so long ago.
    TooOld(Duration),
    /// Its keys cannot be used.
    Keys(&'static str),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(why) => write!(f, "its directory {why}"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::NoSnapshot => f.write_str("what stands there is no snapshot, and is left alone"),
            Self::Forgeable(why) => write!(f, "it {why}"),
            Self::Other(what, found) => write!(f, "it is of the {what} {found}"),
            Self::Future => f.write_str("it was fetched later than now"),
            Self::TooOld(age) => write!(f, "it is {} seconds old, which is `max_stale` or more", age.as_secs()),
            Self::Keys(why) => write!(f, "its key set {why}"),
        }
    }
}

impl Distrust {
    /// What to do, for the operator.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Directory(_) => {
                "give it a directory of its own that only the gateway's user may write (one that is missing is made so)"
            }
            Self::Unreadable(_) | Self::NoSnapshot => {
                "name a file that is this snapshot's alone, or remove what is there"
            }
            Self::Forgeable(_) => {
                "the next good fetch replaces it; if that happens at each start, see who changes it: in Kubernetes \
                 `fsGroup` does, unless `fsGroupChangePolicy` is \"OnRootMismatch\""
            }
            Self::Other(..) => {
                "the next good fetch replaces it; if that happens at each start, two issuers share a file"
            }
            Self::Future => "set this machine's clock; the next good fetch replaces it",
            Self::TooOld(_) | Self::Keys(_) => "the next good fetch replaces it",
        }
    }

    /// Whether the next snapshot may take this one's place.
    pub(super) fn may_be_replaced(&self) -> bool {
        match self {
            Self::Directory(_) | Self::Unreadable(_) | Self::NoSnapshot => false,
            Self::Forgeable(_) | Self::Other(..) | Self::Future | Self::TooOld(_) | Self::Keys(_) => true,
        }
    }
}

impl Snapshot {
    /// The snapshot of that source at `path`; none where there is no file.
    ///
    /// # Errors
    ///
    /// See [`Distrust`].
    pub(super) fn load(path: &Path, source: &KeySource, now: SystemTime) -> Result<Option<Self>, Distrust> {
        match trust::directory(directory_of(path)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Distrust::Directory(error.to_string())),
        }
        // A pipe must not be waited for, and a stranger's link in a directory that others may write not be followed.
        let careful = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
        let file = match OpenOptions::new().read(true).custom_flags(careful.cast_signed()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Distrust::Unreadable(error.to_string())),
        };
        // What is judged and what is read is one open file, whatever becomes of the name meanwhile.
        let metadata = file.metadata().map_err(|error| Distrust::Unreadable(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > BODY_LIMIT as u64 {
            return Err(Distrust::NoSnapshot);
        }
        let mut bytes = Vec::new();
        let read = file.take(BODY_LIMIT as u64).read_to_end(&mut bytes);
        read.map_err(|error| Distrust::Unreadable(error.to_string()))?;
        let document = Object::parse_strict(&bytes).map_err(|_| Distrust::NoSnapshot)?;
        if text(&document, "format") != Some(FORMAT) {
            return Err(Distrust::NoSnapshot);
        }
        trust::file(&metadata).map_err(Distrust::Forgeable)?;
        Self::believe(&document, &bytes, source, now).map(Some)
    }

    fn believe(document: &Object, bytes: &[u8], source: &KeySource, now: SystemTime) -> Result<Self, Distrust> {
        for (what, expected) in identity(source) {
            let found = text(document, what).unwrap_or_default();
            if found != expected {
                return Err(Distrust::Other(what, Quoted::from(found)));
            }
        }
        let Some(Json::Number(seconds)) = document.get("fetched") else { return Err(Distrust::Future) };
        let fetched = seconds.as_u64().map(Duration::from_secs);
        let fetched = fetched.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)).ok_or(Distrust::Future)?;
        let age = match now.duration_since(fetched) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= CLOCK_SKEW => Duration::ZERO,
            Err(_) => return Err(Distrust::Future),
        };
        if age >= source.max_stale {
            return Err(Distrust::TooOld(age));
        }
        let keys = JwkSet::parse(bytes).map_err(Distrust::Keys)?;
        if keys.is_empty() { Err(Distrust::Keys("has no usable key")) } else { Ok(Self { keys, fetched, age }) }
    }
}

/// The text of a snapshot.
pub(super) fn document(source: &KeySource, keys: &JwkSet, fetched: SystemTime) -> Vec<u8> {
    let mut document = keys.to_json();
    document["format"] = json!(FORMAT);
    for (member, value) in identity(source) {
        document[member] = json!(value);
    }
    document["fetched"] = json!(fetched.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
    let mut bytes = document.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// What must be the same for keys to be those of this source.
fn identity(source: &KeySource) -> [(&'static str, String); 3] {
    let place = match &source.origin {
        // With the query: some issuers name the set there.
        Origin::Discovery(url) | Origin::Uri(url) => url.to_string(),
        Origin::File(path) => path.display().to_string(),
    };
    let authorities = source.authorities.as_ref().map_or_else(|| "of the system".to_owned(), digest);
    [("issuer", source.issuer.clone()), ("source", place), ("authorities", authorities)]
}

/// The SHA-256 of the certificates, one after the other.
fn digest(authorities: &Authorities) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    authorities.certificates().iter().for_each(|certificate| context.update(certificate));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'d>(document: &'d Object, member: &str) -> Option<&'d str> {
    document.get(member).and_then(Json::as_str)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
