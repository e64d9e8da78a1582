//! A session as it is stored, for commands that only look: nothing is renewed, noted or ended by that.

use std::time::SystemTime;

use super::relying_party::{ring, sealer, terms};
use crate::config::Config;
use crate::policy::reject::Reject;
use crate::policy::session::{Cookie, Session, Standing};
use crate::policy::site::SiteId;
use crate::remote::jwks::Fetching;
use crate::remote::store::{self, Kind, Name, Unseen};

/// What a cookie opens.
#[derive(Debug)]
pub struct Stored {
    /// The session.
    pub session: Session,
    /// How its access token stands.
    pub standing: Standing,
    /// When it was looked at.
    pub seen: SystemTime,
}

/// Why a cookie opens nothing here.
#[derive(Debug)]
pub enum Unopened {
    /// Nor does it in the gateway.
    Refused(Reject),
    /// Only the gateway can tell.
    Elsewhere {
        /// Why.
        why: String,
        /// What the operator can do about it.
        help: &'static str,
    },
}

/// The session of a cookie of that value, at that site, as it is stored.
///
/// # Errors
///
/// Says why there is none.
pub async fn stored(config: &Config, id: SiteId, value: &str, fetching: &Fetching) -> Result<Stored, Unopened> {
    let none = || Unopened::Refused(Reject::SessionExpired { why: "no session is of this cookie" });
    let (Some(own), Some(site)) = (config.sessions.get(id.0), config.rules.sites.get(id.0)) else { return Err(none()) };
    let cookie = Cookie::parse(value).ok_or_else(none)?;
    let name = Name { kind: Kind::Session, hash: cookie.place() };
    let found =
        store::look(&config.store, name, &fetching.clock, &fetching.handle).await.map_err(|unseen| match unseen {
            Unseen::Elsewhere { why, help } => Unopened::Elsewhere { why, help },
            Unseen::Fault(fault) => Unopened::Refused(fault.into()),
        })?;
    let sealed = found.ok_or_else(none)?;
    let opened = ring(own).and_then(|ring| sealer(site, ring).open(&sealed, &cookie));
    let (terms, seen) = (terms(own), fetching.clock.wall());
    let session = opened.filter(|session| !session.remains(&terms, seen).is_zero()).ok_or_else(none)?;
    let standing = session.standing(&terms, seen);
    if standing == Standing::Spent && session.refresh_token.is_none() {
        let why = "its access token is spent, and it has nothing to renew it with";
        return Err(Unopened::Refused(Reject::SessionExpired { why }));
    }
    Ok(Stored { session, standing, seen })
}
