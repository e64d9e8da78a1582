//! What clients connect to, and the effective policy of every route: what `check` shows of a file without faults.
//!
//! What is shown is read from the model, not from the file: defaults, names and issuers are those that will be used.

mod session;
mod upstream;

use std::fmt::{self, Write as _};

use serde::Serialize;

use self::session::SessionLine;
use self::upstream::UpstreamLine;
use super::authorities::Authorities;
use super::facts::moment;
use super::model::{Certificate, Config, Endpoint, Endpoints, HostField, Introspection, Issuer, KeySource};
use super::read::{EncodedSlash, PreflightRule};
use super::units::{duration_text, size_text};
use crate::policy;
use crate::policy::cors::{Cors, CrossOrigin, Origins};
use crate::policy::permit::{Mode, Policy, Requirement, Scalar};
use crate::policy::route::{Access, Route};

/// What a configuration does, for people ([`Display`](fmt::Display)) and machines ([`Serialize`]).
#[derive(Debug, Serialize)]
pub struct Description {
    hash: String,
    server: ServerLine,
    pub(super) routes: Vec<RouteLine>,
    issuers: Vec<IssuerLine>,
    upstreams: Vec<UpstreamLine>,
    pub(super) sessions: Vec<SessionLine>,
}

#[derive(Debug, Serialize)]
struct ServerLine {
    listen: Vec<String>,
    /// None: HTTP in clear. Else the first is the fallback.
    certificates: Vec<CertificateLine>,
    client_certificates: Option<ClientCertificatesLine>,
    trusted_proxies: Vec<String>,
    proxy_protocol: bool,
    /// Where metrics and probes are asked for.
    admin: String,
    /// None: nothing is traced.
    traces: Option<TracesLine>,
}

#[derive(Debug, Serialize)]
struct TracesLine {
    otlp: String,
    sample: f64,
}

#[derive(Debug, Serialize)]
struct CertificateLine {
    file: String,
    hosts: Vec<String>,
    not_after: String,
}

#[derive(Debug, Serialize)]
struct ClientCertificatesLine {
    mode: &'static str,
    trusts: String,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct RouteLine {
    pub(super) name: String,
    /// Empty: every host that no other route names.
    hosts: Vec<String>,
    path: String,
    /// Empty: all.
    methods: Vec<String>,
    /// Any of them; none: public.
    policies: Vec<PolicyLine>,
    upstream: String,
    upstream_url: String,
    host: &'static str,
    authorization: &'static str,
    /// Empty: nothing is stripped.
    strip_prefix: String,
    encoded_slash: &'static str,
    preflight: &'static str,
    cors: Option<CorsLine>,
    /// Nothing: no cookie is a credential.
    session: Option<String>,
    identity_headers: Vec<(String, String)>,
    body_bytes: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct CorsLine {
    origins: Vec<String>,
    credentials: bool,
    expose_headers: String,
    max_age: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct PolicyLine {
    name: String,
    issuers: Vec<String>,
    audience: Vec<String>,
    scopes: Vec<String>,
    any_scope: Vec<String>,
    claims: Vec<ClaimLine>,
    client_ids: Vec<String>,
    anonymous: bool,
    mode: &'static str,
}

#[derive(Debug, PartialEq, Serialize)]
struct ClaimLine {
    claim: String,
    any_of: Vec<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct IssuerLine {
    name: String,
    issuer: Vec<String>,
    dialect: &'static str,
    believes: &'static str,
    accept_id_tokens: bool,
    algorithms: Vec<&'static str>,
    leeway_seconds: u64,
    keys: String,
    /// The file with the token that is shown when keys are fetched.
    bearer_file: Option<String>,
    /// The file that keeps the keys for the next start.
    snapshot: Option<String>,
    endpoints: Vec<(&'static str, String)>,
    /// Nothing: opaque tokens are refused.
    introspection: Option<IntrospectionLine>,
    /// Nothing: whom the system trusts.
    trusts: Option<String>,
    refresh: String,
}

#[derive(Debug, Serialize)]
struct IntrospectionLine {
    endpoint: String,
    client_id: String,
    auth_method: &'static str,
    cache: String,
    negative_cache: String,
    max_concurrent: usize,
    allow_untyped: bool,
}

impl Config {
    /// What this configuration does.
    pub fn describe(&self) -> Description {
        Description {
            hash: self.hash.clone(),
            server: server_line(self),
            routes: self.rules.routes.routes().iter().filter_map(|route| self.route_line(route)).collect(),
            issuers: self
                .rules
                .issuers
                .iter()
                .zip(&self.issuers)
                .map(|(signer, source)| IssuerLine {
                    name: signer.name.clone(),
                    issuer: signer.spellings.clone(),
                    dialect: signer.recognition.name(),
                    believes: signer.recognition.about(),
                    accept_id_tokens: signer.accept_id_tokens,
                    algorithms: signer.algorithms.iter().map(|algorithm| algorithm.name()).collect(),
                    leeway_seconds: signer.leeway,
                    keys: keys(&source.keys),
                    bearer_file: source.bearer_file.as_ref().map(|path| path.display().to_string()),
                    snapshot: source.snapshot.as_ref().map(|path| path.display().to_string()),
                    endpoints: endpoints(&source.endpoints),
                    introspection: introspection_line(source, signer),
                    trusts: source.authorities.as_ref().map(trusts),
                    refresh: duration_text(source.refresh),
                })
                .collect(),
            upstreams: self.upstreams.iter().map(UpstreamLine::of).collect(),
            sessions: self
                .sessions
                .iter()
                .zip(&self.rules.sites)
                .map(|(session, site)| SessionLine::of(self, session, site))
                .collect(),
        }
    }

    fn route_line(&self, route: &Route) -> Option<RouteLine> {
        let upstream = self.upstreams.get(route.upstream.0)?;
        Some(RouteLine {
            name: route.name.clone(),
            hosts: route.hosts.iter().map(ToString::to_string).collect(),
            path: route.path.to_string(),
            methods: route.methods.iter().map(ToString::to_string).collect(),
            policies: match &route.access {
                Access::Public => Vec::new(),
                Access::Policies(policies) => policies.all().iter().map(|policy| self.policy_line(policy)).collect(),
            },
            upstream: upstream.name.clone(),
            upstream_url: upstream.address.to_string(),
            host: upstream.host.name(),
            authorization: upstream.authorization.name(),
            strip_prefix: route.path.literal_prefix(route.stripped),
            encoded_slash: if route.keeps_encoded_slash { EncodedSlash::Keep } else { EncodedSlash::Refuse }.name(),
            preflight: match &route.cross_origin {
                CrossOrigin::Ignored => PreflightRule::Refuse.name(),
                CrossOrigin::Answered(_) => "answer",
                CrossOrigin::Forwarded => PreflightRule::Forward.name(),
            },
            cors: match &route.cross_origin {
                CrossOrigin::Answered(cors) => Some(cors_line(cors)),
                CrossOrigin::Ignored | CrossOrigin::Forwarded => None,
            },
            session: route.session.and_then(|id| self.rules.sites.get(id.0)).map(|site| site.name.clone()),
            identity_headers: route
                .identity_headers
                .iter()
                .map(|header| (header.name.to_string(), header.claim.to_string()))
                .collect(),
            body_bytes: route.body_bytes,
        })
    }

    fn policy_line(&self, policy: &Policy) -> PolicyLine {
        let issuers = policy.issuers.iter().filter_map(|id| self.rules.issuers.get(id.0));
        PolicyLine {
            name: policy.name.clone(),
            issuers: issuers.map(|issuer| issuer.name.clone()).collect(),
            audience: policy.audience.clone(),
            scopes: policy.scopes.clone(),
            any_scope: policy.any_scope.clone(),
            claims: policy.claims.iter().map(claim_line).collect(),
            client_ids: policy.client_ids.clone(),
            anonymous: policy.anonymous,
            mode: policy.mode.name(),
        }
    }
}

fn cors_line(cors: &Cors) -> CorsLine {
    CorsLine {
        origins: match cors.origins() {
            Origins::Any => vec!["*".to_owned()],
            Origins::These(origins) => origins.clone(),
        },
        credentials: cors.credentials(),
        expose_headers: cors.exposed().to_owned(),
        max_age: duration_text(cors.max_age()),
    }
}

fn introspection_line(source: &Issuer, signer: &policy::issuer::Issuer) -> Option<IntrospectionLine> {
    let Introspection { endpoint, client, cache, negative_cache, max_concurrent, .. } =
        source.introspection.as_ref()?;
    Some(IntrospectionLine {
        endpoint: match endpoint {
            Endpoint::At(url) => url.to_string(),
            Endpoint::Discovered(url) => format!("what {url} says"),
        },
        client_id: client.id.clone(),
        auth_method: client.authentication.name(),
        cache: duration_text(*cache),
        negative_cache: duration_text(*negative_cache),
        max_concurrent: *max_concurrent,
        allow_untyped: signer.introspection?.allow_untyped,
    })
}

fn server_line(Config { server, admin, traces, .. }: &Config) -> ServerLine {
    let tls = server.tls.as_ref();
    let certificates = tls.map(|tls| tls.certificates.as_slice()).unwrap_or_default();
    ServerLine {
        listen: server.listen.iter().map(ToString::to_string).collect(),
        certificates: certificates.iter().map(certificate_line).collect(),
        client_certificates: tls
            .and_then(|tls| tls.clients.as_ref())
            .map(|clients| ClientCertificatesLine { mode: clients.mode.name(), trusts: trusts(&clients.authorities) }),
        trusted_proxies: server.trusted_proxies.iter().map(ToString::to_string).collect(),
        proxy_protocol: server.proxy_protocol,
        admin: admin.listen.to_string(),
        traces: traces.otlp.as_ref().map(|otlp| TracesLine { otlp: otlp.to_string(), sample: traces.sample }),
    }
}

fn certificate_line(certificate: &Certificate) -> CertificateLine {
    let facts = certificate.pair.facts();
    CertificateLine { file: certificate.file.clone(), hosts: facts.hosts.clone(), not_after: moment(facts.not_after) }
}

fn claim_line(requirement: &Requirement) -> ClaimLine {
    let value = |scalar: &Scalar| match scalar {
        Scalar::String(text) => serde_json::Value::String(text.clone()),
        Scalar::Number(number) => serde_json::Value::Number(number.clone()),
        Scalar::Bool(truth) => serde_json::Value::Bool(*truth),
    };
    ClaimLine { claim: requirement.claim.to_string(), any_of: requirement.any_of.iter().map(value).collect() }
}

fn keys(source: &KeySource) -> String {
    match source {
        KeySource::Discovery(url) => format!("discovered at {url}"),
        KeySource::Uri(url) => format!("fetched from {url}"),
        KeySource::File { path, keys, .. } => format!("{} of {}", keys.len(), path.display()),
        KeySource::Secret => "a shared secret".to_owned(),
    }
}

fn endpoints(endpoints: &Endpoints) -> Vec<(&'static str, String)> {
    let named = [
        ("authorization", &endpoints.authorization),
        ("token", &endpoints.token),
        ("end_session", &endpoints.end_session),
        ("revocation", &endpoints.revocation),
    ];
    named.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?.to_string()))).collect()
}

fn trusts(authorities: &Authorities) -> String {
    format!("only {} of {}", authorities.certificates().len(), authorities.path().display())
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)?;
        self.routes.iter().try_for_each(|route| route.fmt(f))?;
        self.issuers.iter().try_for_each(|issuer| issuer.fmt(f))?;
        self.upstreams.iter().try_for_each(|upstream| upstream.fmt(f))?;
        self.sessions.iter().try_for_each(|session| session.fmt(f))
    }
}

impl fmt::Display for ServerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("server\n")?;
        let carried = if self.certificates.is_empty() { "in clear" } else { "within TLS" };
        line(f, "listens", &format!("{}, {carried}", self.listen.join(", ")))?;
        for CertificateLine { file, hosts, not_after } in &self.certificates {
            let hosts = if hosts.is_empty() { "no host".to_owned() } else { hosts.join(", ") };
            line(f, "shows", &format!("{file} for {hosts}, until {not_after}"))?;
        }
        if let Some(ClientCertificatesLine { mode, trusts }) = &self.client_certificates {
            line(f, "clients", &format!("certificate {mode}, {trusts}"))?;
        }
        some(f, "trusts", &self.trusted_proxies)?;
        if self.proxy_protocol {
            line(f, "begins", "each connection with a PROXY header, from those alone")?;
        }
        line(f, "admin", &format!("{}: metrics and probes, in clear, for whoever reaches it", self.admin))?;
        if let Some(TracesLine { otlp, sample }) = &self.traces {
            line(f, "traces", &format!("go to {otlp}: those that their caller records, {sample} of the others"))?;
        }
        f.write_char('\n')
    }
}

impl fmt::Display for RouteLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route {}", self.name)?;
        let methods = if self.methods.is_empty() { "any method".to_owned() } else { self.methods.join(", ") };
        line(f, "takes", &format!("{methods} {}", self.path))?;
        some(f, "at", &self.hosts)?;
        // An upstream that a route names by its URL is called that.
        let named = self.upstream != self.upstream_url;
        let url = if named { format!(" ({})", self.upstream_url) } else { String::new() };
        let stripped =
            if self.strip_prefix.is_empty() { String::new() } else { format!(", less {}", self.strip_prefix) };
        let host = if self.host == HostField::Preserve.name() { "" } else { ", under its own Host" };
        let authorization = if self.authorization == "keep" { "" } else { ", without Authorization" };
        line(f, "goes to", &format!("{}{url}{stripped}{host}{authorization}", self.upstream))?;
        let headers: Vec<_> = self.identity_headers.iter().map(|(name, claim)| format!("{name} = {claim}")).collect();
        some(f, "tells it", &headers)?;
        if self.encoded_slash == EncodedSlash::Keep.name() {
            line(f, "slashes", "an encoded one stands within its segment, and goes on as it is")?;
        }
        if self.preflight == PreflightRule::Forward.name() {
            line(f, "preflights", "go to it without a credential")?;
        }
        if let Some(cors) = &self.cors {
            cors.fmt(f)?;
        }
        if let Some(session) = &self.session {
            line(f, "session", &format!("the cookie of {session} is a credential, beside Bearer"))?;
        }
        if let Some(bytes) = self.body_bytes {
            line(f, "body", &format!("at most {}", size_text(bytes)))?;
        }
        match &self.policies[..] {
            [] => line(f, "policy", "public: no credential is looked at")?,
            [policy] => policy.fmt(f)?,
            several => {
                for (at, policy) in several.iter().enumerate() {
                    line(f, if at == 0 { "policy" } else { "or policy" }, &policy.name)?;
                    policy.fmt(f)?;
                }
            }
        }
        f.write_char('\n')
    }
}

impl fmt::Display for CorsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies = if self.credentials { ", with cookies" } else { "" };
        let pages = if self.origins == ["*"] {
            "every page".to_owned()
        } else {
            format!("pages of {}", self.origins.join(", "))
        };
        line(f, "readable", &format!("by {pages}{cookies}"))?;
        line(f, "exposes", &self.expose_headers)?;
        line(f, "preflights", &format!("are answered here, for {}", self.max_age))
    }
}

impl fmt::Display for PolicyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        some(f, "issuer", &self.issuers)?;
        some(f, "audience", &self.audience)?;
        some(f, "scopes", &self.scopes)?;
        some(f, "any scope", &self.any_scope)?;
        for rule in &self.claims {
            let values: Vec<_> = rule.any_of.iter().map(ToString::to_string).collect();
            line(f, "claim", &format!("{} = {}", rule.claim, values.join(" or ")))?;
        }
        some(f, "clients", &self.client_ids)?;
        if self.anonymous {
            line(f, "anonymous", "whoever sends no credential at all is let through")?;
        }
        if self.mode == Mode::Shadow.name() {
            line(f, "mode", "shadow: whatever is refused is let through, counted and logged")?;
        }
        Ok(())
    }
}

impl fmt::Display for IssuerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "issuer {}", self.name)?;
        some(f, "iss", &self.issuer)?;
        let id_tokens = if self.accept_id_tokens { ", and ID tokens" } else { "" };
        line(f, "dialect", &format!("{}{id_tokens}", self.dialect))?;
        line(f, "believes", self.believes)?;
        some(f, "signs with", &self.algorithms)?;
        line(f, "keys", &self.keys)?;
        some(f, "shows it", self.bearer_file.as_slice())?;
        some(f, "snapshot", self.snapshot.as_slice())?;
        let endpoints: Vec<_> = self.endpoints.iter().map(|(name, url)| format!("{name} = {url}")).collect();
        some(f, "endpoints", &endpoints)?;
        if let Some(asked) = &self.introspection {
            let untyped = if asked.allow_untyped { ", also where it names no token type" } else { "" };
            let how =
                format!("asked about at {}, as {} ({}){untyped}", asked.endpoint, asked.client_id, asked.auth_method);
            line(f, "opaque", &how)?;
        }
        some(f, "trusts", self.trusts.as_slice())?;
        f.write_char('\n')
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "  {name:<10} {value}")
}

fn some(f: &mut fmt::Formatter<'_>, name: &str, values: &[impl AsRef<str>]) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    line(f, name, &values.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "))
}
