//! `[sessions.NAME]`, and the `session` of a route: browser logins, held by us.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::issuers;
use super::keys::discovery_of;
use super::policies::scopes;
use super::routes::Surroundings;
use super::{client, cookie, positive, repeated};
use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::model::{Authentication, Client, Session};
use crate::config::nearest::defined;
use crate::config::options;
use crate::config::read::{At, AuthMethod, PageOrigin, Text, secured};
use crate::policy::issuer::IssuerId;
use crate::policy::jwt::{Algorithm, HmacSecret};
use crate::policy::pattern::HostPattern;
use crate::policy::route::Access;
use crate::policy::site::{Site, SiteId};

/// A session as the file has it.
pub(super) type Raw = (At<String>, options::Session);

/// Parameters of the authorization request that we set ourselves, and those that would stand in their place (RFC 6749
/// section 4.1.1, RFC 7636 section 4.3, RFC 9101 section 5, OpenID Connect Core section 3.1.2.1).
const OURS: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// What `/auth/session` says of itself.
const TOLD: [&str; 4] = ["authenticated", "subject", "expires_in", "logout_url"];

/// Builds every session, and where browsers see it, at the same place of both lists.
pub(super) fn sessions(
    raw: &[Raw],
    issuers: &[issuers::Raw],
    directory: &Path,
    faults: &mut Faults,
) -> Option<(Vec<Session>, Vec<Site>)> {
    let built: Vec<_> = raw.iter().map(|(name, raw)| session(&name.value, raw, issuers, directory, faults)).collect();
    apart(raw, faults);
    built.into_iter().collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

fn session(
    name: &str,
    raw: &options::Session,
    issuers: &[issuers::Raw],
    directory: &Path,
    faults: &mut Faults,
) -> Option<(Session, Site)> {
    let issuer = issuer(raw, issuers, faults);
    let discovery = issuer.and_then(|id| discovery(&issuers.get(id.0)?.1, faults));
    let origin = origin(raw, faults);
    let path = path(raw, faults);
    let scopes = asked(raw, faults);
    let parameters = parameters(raw, faults);
    let claims = claims(raw, faults);
    let cookie = raw.cookie.value.as_ref().and_then(|raw| cookie::cookie(raw, directory, faults));
    lifetimes(raw, faults);
    let client = client_of(raw, issuer.and_then(|id| issuers.get(id.0)), directory, faults);
    let algorithms = algorithms(raw, issuer.and_then(|id| issuers.get(id.0)), faults);
    let secret = match (&algorithms, &client) {
        (Some(algorithms), Some(client)) => id_token_secret(raw, algorithms, client, faults),
        (None, _) | (_, None) => None,
    };
    let (origin, (cookie, same_site, keys)) = (origin?, cookie?);
    let site = Site {
        name: name.to_owned(),
        host: origin.host_str()?.to_owned(),
        origin: origin.origin().ascii_serialization(),
        path: path?,
        cookie,
        same_site,
    };
    let session = Session {
        name: name.to_owned(),
        issuer: issuer?,
        client: client?,
        discovery: discovery?,
        timeout: raw.timeout.value?,
        id_token_algorithms: algorithms?,
        id_token_secret: secret?,
        scopes: scopes?,
        parameters: parameters?,
        claims: claims?,
        keys,
        refresh_before: raw.refresh_before.value?,
        idle_timeout: idle_timeout(raw)?,
        lifetime: raw.lifetime.value?,
    };
    Some((session, site))
}

fn issuer(raw: &options::Session, issuers: &[issuers::Raw], faults: &mut Faults) -> Option<IssuerId> {
    let Text(word) = raw.issuer.value.as_ref()?;
    let names = || issuers.iter().map(|(name, _)| name.value.as_str());
    let found = names().position(|name| name == word);
    if found.is_none() {
        let help = defined(word, names(), "issuers", issuers::NEEDS);
        faults.fault(&raw.issuer.span, format!("no issuer is called `{word}`"), help);
    }
    found.map(IssuerId)
}

/// Where the endpoints are learned that the file does not name; a login needs two of them.
fn discovery(issuer: &options::Issuer, faults: &mut Faults) -> Option<Option<Url>> {
    let endpoints = issuer.endpoints.value.as_ref();
    if endpoints.is_some_and(|named| named.authorization.written && named.token.written) {
        return Some(None);
    }
    let help = "name them: `endpoints = { authorization = \"https://...\", token = \"https://...\" }`";
    discovery_of(issuer, "endpoints", help, faults).map(Some)
}

/// A browser keeps `__Host-` cookies only of pages that came within TLS, or from its own machine.
fn origin<'r>(raw: &'r options::Session, faults: &mut Faults) -> Option<&'r Url> {
    let PageOrigin(origin) = raw.origin.value.as_ref()?;
    if let Some(secured) = secured(origin) {
        let what = "an origin of plain http outside loopback: whoever is on the way has every session";
        let help = format!("serve it by https, here or in front of the gateway, and write \"{secured}\"");
        faults.fault(&raw.origin.span, what, help);
    }
    Some(origin)
}

fn path(raw: &options::Session, faults: &mut Faults) -> Option<String> {
    let path = raw.path.value.as_ref()?.to_string();
    let literal = raw.path.value.as_ref()?.literal_prefix(usize::MAX);
    if literal != path {
        let help = "write literal segments, without a slash at the end: \"/auth\"";
        faults.fault(&raw.path.span, format!("`{path}` is not one path of our own"), help);
        return None;
    }
    Some(path)
}

fn asked(raw: &options::Session, faults: &mut Faults) -> Option<Vec<String>> {
    scopes(&raw.scopes, faults);
    let asked = raw.scopes.value.as_ref()?;
    repeated(&asked.iter().map(|at| (&at.value.0, &at.span)).collect::<Vec<_>>(), ToString::to_string, faults);
    if asked.iter().all(|at| at.value.0 != "openid") {
        let help = "add \"openid\": without it there is no ID token, which says who logged in";
        faults.fault(&raw.scopes.span, "`scopes` without `openid`", help);
    }
    Some(asked.iter().map(|at| at.value.0.clone()).collect())
}

fn parameters(raw: &options::Session, faults: &mut Faults) -> Option<Vec<(String, String)>> {
    if raw.parameters.is_absent() {
        return Some(Vec::new());
    }
    let parameters = &raw.parameters.value.as_ref()?.0;
    for (At { value: name, span }, _) in parameters {
        if OURS.contains(&name.as_str()) {
            let help = "remove it: the login would not be safe, or not work, with another value than ours";
            faults.fault(span, format!("`{name}` is set by the gateway"), help);
        }
    }
    Some(parameters.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect())
}

fn claims(raw: &options::Session, faults: &mut Faults) -> Option<Vec<String>> {
    if raw.claims.is_absent() {
        return Some(Vec::new());
    }
    let claims = raw.claims.value.as_ref()?;
    repeated(&claims.iter().map(|at| (&at.value.0, &at.span)).collect::<Vec<_>>(), ToString::to_string, faults);
    for At { value: Text(name), span } in claims {
        if TOLD.contains(&name.as_str()) {
            let what = format!("`{name}` is what the gateway itself says there");
            faults.fault(span, what, "leave it out; the subject is told in any case");
        }
    }
    Some(claims.iter().map(|at| at.value.0.clone()).collect())
}

fn lifetimes(raw: &options::Session, faults: &mut Faults) {
    positive(&raw.timeout, "timeout", "no answer could come in time; the default is \"5s\"", faults);
    positive(&raw.idle_timeout, "idle_timeout", "no session would live; the default is \"12h\"", faults);
    positive(&raw.lifetime, "lifetime", "no session would live; the default is \"7d\"", faults);
    if let (Some(idle), Some(lifetime)) = (idle_timeout(raw), raw.lifetime.value)
        && idle > lifetime
    {
        let help = "lower `idle_timeout`, or raise `lifetime`: no session lasts longer than that";
        faults
            .fault(&raw.idle_timeout.span, "`idle_timeout` is more than `lifetime`", help)
            .also(&raw.lifetime.span, "lifetime");
    }
}

/// Where it is not written, no session ends sooner for that than by its age.
fn idle_timeout(raw: &options::Session) -> Option<Duration> {
    let usual = raw.idle_timeout.value?;
    Some(if raw.idle_timeout.written { usual } else { usual.min(raw.lifetime.value?) })
}

/// AM takes the secret of a client in the body alone, unless it is told otherwise.
fn client_of(
    raw: &options::Session,
    issuer: Option<&issuers::Raw>,
    directory: &Path,
    faults: &mut Faults,
) -> Option<Client> {
    let by_form = issuer.is_some_and(|(_, issuer)| {
        !issuer.discriminator.written && issuer.dialect.value.is_some_and(|dialect| dialect.0.name == "forgerock")
    });
    let usual = Field { value: Some(AuthMethod::ClientSecretPost), span: raw.auth_method.span.clone(), written: false };
    let options = client::Options {
        client_id: &raw.client_id,
        client_secret: &raw.client_secret,
        auth_method: if by_form && !raw.auth_method.written { &usual } else { &raw.auth_method },
        private_key: &raw.private_key,
        kid: &raw.kid,
        alg: &raw.alg,
    };
    client::client(&options, directory, faults)
}

fn algorithms(raw: &options::Session, issuer: Option<&issuers::Raw>, faults: &mut Faults) -> Option<Vec<Algorithm>> {
    let named = raw.id_token_algorithms.value.as_ref()?;
    repeated(&named.iter().map(|at| (&at.value, &at.span)).collect::<Vec<_>>(), |a| a.name().to_owned(), faults);
    if named.is_empty() {
        let help = "name what ID tokens are signed with, or leave the option out for [\"RS256\"]";
        faults.fault(&raw.id_token_algorithms.span, "`id_token_algorithms` is empty", help);
    }
    let hmac = named.iter().find(|at| at.value.least_secret().is_some());
    let public = named.iter().find(|at| at.value.least_secret().is_none());
    if let (Some(hmac), Some(public)) = (hmac, public) {
        let help = "keep what the issuer signs this client's ID tokens with: it is set there, for the client";
        faults
            .fault(&hmac.span, format!("{} beside {}", hmac.value.name(), public.value.name()), help)
            .also(&public.span, "signed with a public key");
    }
    if let (Some(_), Some((_, issuer))) = (public, issuer)
        && issuer.hmac_secret.written
    {
        let help = "write `id_token_algorithms = [\"HS256\"]`: keyed with the client secret";
        let what = "the issuer has no public keys, by which its ID tokens could be checked";
        faults.fault(&raw.id_token_algorithms.span, what, help).also(&issuer.hmac_secret.span, "it has a secret");
    }
    Some(named.iter().map(|at| at.value).collect())
}

/// OpenID Connect Core section 10.1: a symmetric signature is keyed with the client secret, as long as the hash at least
/// (section 16.19).
fn id_token_secret(
    raw: &options::Session,
    algorithms: &[Algorithm],
    client: &Client,
    faults: &mut Faults,
) -> Option<Option<HmacSecret>> {
    let Some(least) = algorithms.iter().filter_map(|algorithm| algorithm.least_secret()).max() else {
        return Some(None);
    };
    let (Authentication::Basic(secret) | Authentication::Post(secret)) = &client.authentication else {
        let help = "HS256 is keyed with the client secret: set one, or have the issuer sign with a public key";
        let what = "ID tokens cannot be checked without a client secret";
        faults.fault(&raw.id_token_algorithms.span, what, help);
        return None;
    };
    let length = secret.reveal().len();
    if length < least {
        let what =
            format!("the client secret has {length} bytes; the hash of `id_token_algorithms` needs at least {least}");
        let help = "have the issuer make a longer one, or sign this client's ID tokens with a public key";
        faults.fault(&raw.client_secret.span, what, help).also(&raw.id_token_algorithms.span, "keyed with it");
        return None;
    }
    Some(Some(HmacSecret::new(secret.reveal())))
}

/// Cookies know no port, and a path belongs to one session: what two of a host share would be the other's.
fn apart(raw: &[Raw], faults: &mut Faults) {
    for (at, (_, later)) in raw.iter().enumerate() {
        for (name, earlier) in
            raw[..at].iter().filter(|(_, earlier)| host(earlier).is_some_and(|it| Some(it) == host(later)))
        {
            if let (Some(first), Some(second)) = (cookie_name(earlier), cookie_name(later))
                && first == second
            {
                let what = format!("the cookie `{second}` is another session's of that host");
                let help = "give each its own: `cookie = { name = \"__Host-...\" }`";
                faults.fault(&later.cookie.span, what, help).also(&earlier.cookie.span, format!("of `{}`", name.value));
            }
            if let (Some(first), Some(second)) = (&earlier.path.value, &later.path.value)
                && (is_beneath(&first.to_string(), &second.to_string())
                    || is_beneath(&second.to_string(), &first.to_string()))
            {
                let what = format!("`{second}` is where another session of that host is");
                let help = "give each a path of its own, none beneath the other";
                faults.fault(&later.path.span, what, help).also(&earlier.path.span, format!("of `{}`", name.value));
            }
        }
    }
}

fn cookie_name(raw: &options::Session) -> Option<&str> {
    Some(&raw.cookie.value.as_ref()?.name.value.as_ref()?.0)
}

/// The host at which browsers see us.
fn host(raw: &options::Session) -> Option<String> {
    Some(raw.origin.value.as_ref()?.0.host_str()?.to_owned())
}

/// Whether a path is another one or beneath it.
fn is_beneath(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reports the routes that no browser would reach, because their paths are a session's own.
pub(super) fn beneath(routes: &[options::Route], sessions: &[Raw], faults: &mut Faults) {
    for route in routes {
        let Some(pattern) = &route.path.value else { continue };
        for (name, session) in sessions {
            let (Some(host), Some(own)) = (host(session), &session.path.value) else { continue };
            let own = own.to_string();
            if serves(route, &host) && pattern.begins_with(&own).is_some() {
                let what = format!("`{own}` and what is beneath it is the session `{}`'s own", name.value);
                let help = "give the route another path, or the session: `path = \"/login\"`";
                faults.fault(&route.path.span, what, help).also(&session.path.span, "its path");
            }
        }
    }
}

/// Whether a route takes requests to this host.
fn serves(route: &options::Route, host: &str) -> bool {
    let hosts = route.hosts.value.as_deref().unwrap_or_default();
    hosts.is_empty()
        || hosts.iter().any(|at| match &at.value {
            HostPattern::Exact(exact) => exact == host,
            HostPattern::Suffix(suffix) => host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.')),
        })
}

/// The session whose cookies a route takes; `Some(None)` where it takes none.
pub(super) fn of_route(
    route: &options::Route,
    access: Option<&Access>,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Option<SiteId>> {
    if route.session.is_absent() {
        return Some(None);
    }
    let Text(word) = route.session.value.as_ref()?;
    let span = &route.session.span;
    let names = || around.sessions.iter().map(|(name, _)| name.value.as_str());
    let Some(at) = names().position(|name| name == word) else {
        let help = defined(word, names(), "sessions", "`issuer`, `origin`, `client_id` and `scopes`");
        faults.fault(span, format!("no session is called `{word}`"), help);
        return None;
    };
    fits(route, &around.sessions[at], access, around, span, faults);
    Some(Some(SiteId(at)))
}

/// Where a browser logs in: [`Site::login`].
pub(super) fn login(session: &options::Session) -> Option<String> {
    let (PageOrigin(origin), path) = (session.origin.value.as_ref()?, session.path.value.as_ref()?);
    Some(format!("{}{path}/login", origin.origin().ascii_serialization()))
}

/// Whether a session can ever open a route.
fn fits(
    route: &options::Route,
    (name, session): &Raw,
    access: Option<&Access>,
    around: &Surroundings<'_>,
    span: &Span,
    faults: &mut Faults,
) {
    if let Some(host) = host(session)
        && !serves(route, &host)
    {
        let what =
            format!("the route does not serve {host}, and browsers send the cookie of `{}` there alone", name.value);
        let help = "add the host to `hosts`, or leave `session` out";
        faults.fault(span, what, help).also(&session.origin.span, "the session's origin");
    }
    match access {
        Some(Access::Public) => {
            let help = "leave one of the two out";
            faults.fault(span, "`session` beside `policy = \"public\"`: no credential is looked at there", help);
        }
        Some(Access::Policies(policies)) => {
            let named = session.issuer.value.as_ref().map(|text| text.0.as_str());
            let issuer = around.issuers.iter().position(|(issuer, _)| Some(issuer.value.as_str()) == named);
            if issuer.is_some_and(|at| !policies.issuers().contains(&IssuerId(at))) {
                let what = format!("the route's policy takes no tokens of the issuer of `{}`", name.value);
                let help = "add it to the policy's `issuers`, or leave `session` out";
                faults.fault(span, what, help).also(&session.issuer.span, "the session's issuer");
            }
        }
        None => {}
    }
}
