//! `bearward explain`: the decision on one request, told step by step.
//!
//! It walks the very functions and lists of rules that `run` walks, and goes on after the first refusal, so that one look
//! shows everything that stands in the way. What a token says before its signature was checked is told as `unverified`.
//! Keys are taken from files unless `--online` asks the issuer. The token comes from a file and is never printed; nor are
//! those of the session that a cookie opens, which is read where it is stored and left as it is. What stands around a token in
//! its file (`Bearer`, quotation marks, the issuer's whole answer) is taken off, and told with its cure: who asks why a token
//! is refused means the token.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::process::ExitCode;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, Request, Uri};

use self::telling::{Explanation, Standing, Steps};
use super::token_text::{self, Fault, Found};
use super::{ExplainArguments, asking};
use crate::config::Config;
use crate::gateway;
use crate::policy::Rules;
use crate::policy::browser;
use crate::policy::claims::{Claims, NumericDate};
use crate::policy::credential::Credential;
use crate::policy::decision::{AFTER_SIGNATURE, AnswerCase, BEFORE_KEY, BY_ANSWER, BY_POLICY, PolicyCase, TokenCase};
use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::jwt::{self, Contents, UnverifiedJwt};
use crate::policy::kind::{self, TokenKind};
use crate::policy::permit::Preflighted;
use crate::policy::policies::Policies;
use crate::policy::reject::{Quoted, Reject, Step};
use crate::policy::request::RequestView;
use crate::policy::route::{Access, Route};
use crate::remote::clock::Clock;
use crate::remote::jwks::KeySets;
use crate::remote::jwks::source::Origin;

mod session;
mod telling;

/// Explains. Exit code 0: permitted, 1: refused, 2: wrong usage or configuration.
pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let config = match Config::load(&arguments.file.config) {
        Ok(loaded) => loaded.config,
        Err(report) => {
            super::complain(&report.render(super::colour_on_stderr()));
            return ExitCode::from(super::WRONG);
        }
    };
    let explained = request(arguments).and_then(|(request, around)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a runtime: {error}"))?;
        let explained = runtime.block_on(explain(&config, &request, arguments.online));
        explained.map(|explanation| explanation.with(around))
    });
    match explained {
        Err(wrong) => {
            super::complain(&format!("error: {wrong}\n"));
            ExitCode::from(super::WRONG)
        }
        Ok(explanation) => {
            let text = if arguments.json { format!("{:#}\n", explanation.json()) } else { explanation.to_string() };
            let told = io::stdout().write_all(text.as_bytes());
            if told.is_ok() && explanation.permits() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// The request that is asked about, as a client would send it over HTTP/1.1, and what stood around its token in the file.
fn request(arguments: &ExplainArguments) -> Result<(Request<()>, Vec<Fault>), String> {
    let method = Method::from_bytes(arguments.method.as_bytes()).map_err(|_| "--method is no HTTP method")?;
    let url: Uri = arguments.url.parse().map_err(|error| format!("--url is no URL: {error}"))?;
    let authority = url.authority().filter(|_| url.scheme().is_some());
    let authority = authority.ok_or("--url is no whole URL; write http://host/path")?.as_str();
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|error| format!("--url has no usable path: {error}"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| "--url has no usable host")?);
    for header in &arguments.headers {
        add_header(headers, header)?;
    }
    let mut around = Vec::new();
    if let Some(file) = &arguments.token_file {
        let Found { token, faults } = token_text::unwrap(&super::read_token(Some(file))?);
        if token.is_empty() {
            let why = faults.last().map_or(Cow::Borrowed("there is nothing in it"), Fault::what);
            let cure = faults.last().map_or("put the token into it", Fault::cure);
            return Err(format!("the token file holds no token: {why}\nhelp: {cure}"));
        }
        around = faults;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(
            |_| "the token file holds a line break or other bytes that no header can hold; put the token alone into it",
        )?;
        value.set_sensitive(true);
        headers.append(AUTHORIZATION, value);
    }
    if let Some(file) = &arguments.cookie_file {
        let cookies = std::fs::read(file).map_err(|why| format!("the cookie file cannot be read: {why}"))?;
        let mut value = HeaderValue::from_bytes(cookies.trim_ascii_end())
            .map_err(|_| "the cookie file holds bytes that no header can hold")?;
        value.set_sensitive(true);
        headers.append(COOKIE, value);
    }
    Ok((request, around))
}

fn add_header(headers: &mut HeaderMap, header: &str) -> Result<(), String> {
    let parsed = header.split_once(':').and_then(|(name, value)| {
        Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
    });
    let (name, value) = parsed.ok_or("--header is not `Name: value`")?;
    if name == AUTHORIZATION || name == PROXY_AUTHORIZATION {
        return Err("credentials are not taken from arguments, where others can read them; use --token-file".to_owned());
    }
    if name == COOKIE {
        return Err("cookies are not taken from arguments, where others can read them; use --cookie-file".to_owned());
    }
    headers.append(name, value);
    Ok(())
}

/// Walks the decision to its end.
async fn explain(config: &Config, request: &Request<()>, online: bool) -> Result<Explanation, String> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let mut told = Explanation::of(request);
    let rules = &config.rules;
    let view = match RequestView::new(method, uri, request.version(), headers, rules.head) {
        Ok(view) => view,
        Err(reject) => return Ok(told.ending(Step::Head, reject)),
    };
    told.steps.passed(Step::Head, format!("{method} {} at {}", Quoted::from(view.raw_path()), view.authority()));
    if let Some((id, beneath)) = rules.site(&view) {
        return told.own_page(config, (id, beneath), request).await;
    }
    let route = match rules.routes.find(&view) {
        Ok((_, route)) => route,
        Err(reject) => return Ok(told.ending(Step::Route, reject)),
    };
    let upstream = config.upstreams.get(route.upstream.0).map_or_else(String::new, |up| up.address.to_string());
    let site = route.session.and_then(|id| rules.sites.get(id.0));
    let session = site.map(|site| format!(", with session {}", site.name)).unwrap_or_default();
    told.steps.passed(Step::Route, format!("{} ({}), to {upstream}{session}", route.name, route.path));
    told.login = site.filter(|_| browser::may_be_sent_to_login(&view)).map(|site| gateway::login_address(site, uri));
    if let Some(preflighted) = route.preflight(&view) {
        let who = match preflighted {
            Preflighted::Answered(_) => "the gateway",
            Preflighted::Forwarded(_) => "the upstream",
        };
        told.steps.passed(Step::Credential, format!("none is looked at: it is a preflight, which {who} answers"));
        return Ok(told);
    }
    let policies = match &route.access {
        Access::Public => {
            told.steps.passed(Step::Credential, "the route is public: none is looked at".to_owned());
            return Ok(told);
        }
        Access::Policies(policies) => policies,
    };
    told.shadow = policies.is_shadow();
    match route.credential(&view, &rules.sites) {
        Err(reject) => Ok(told.ending(Step::Credential, reject)),
        Ok(Credential::None(absence)) => {
            let saw = || "none, and anonymous callers are let in".to_owned();
            told.steps.judged(Step::Credential, policies.admit(absence, route.login.as_deref()), Standing::Told, saw);
            Ok(told)
        }
        Ok(Credential::Session(cookie)) => {
            told.steps.passed(Step::Credential, "a session's cookie, from a page that may use it".to_owned());
            told.by_session(config, route, policies, cookie, online).await
        }
        Ok(Credential::Bearer(token)) => {
            told.steps.passed(Step::Credential, "one Bearer token".to_owned());
            told.token(config, route, policies, token, online).await
        }
    }
}

impl Explanation {
    /// The steps from the token's size on.
    async fn token(
        mut self,
        config: &Config,
        route: &Route,
        policies: &Policies,
        token: &str,
        online: bool,
    ) -> Result<Self, String> {
        let rules = &config.rules;
        self.size(rules, token);
        if let Some(asked) = rules.introspecting(policies).filter(|_| !jwt::is_shaped(token)) {
            return self.opaque(config, route, policies, (token, asked), online).await;
        }
        let jwt = match UnverifiedJwt::parse(token) {
            Ok(jwt) => jwt,
            Err(reject) => return Ok(self.ending(Step::Shape, reject)),
        };
        self.steps.passed(Step::Shape, "a signed JWT of three parts".to_owned());
        let contents = jwt.contents().clone();
        let extensions = || "demands no extension".to_owned();
        self.steps.judged(Step::Extensions, contents.extensions(), Standing::Told, extensions);
        let (id, issuer) = match rules.issuer(policies, &contents.claims) {
            Ok(found) => found,
            Err(reject) => return Ok(self.ending(Step::Issuer, reject)),
        };
        self.steps.passed(Step::Issuer, taken(issuer, id, policies));
        let now = NumericDate::from(Clock::system().wall());
        let case = TokenCase { contents: &contents, issuer, now };
        for rule in BEFORE_KEY {
            let saw = || format!("{} (unverified)", saw(rule.step, &contents, issuer));
            // These refusals say themselves what of them is unverified.
            self.steps.judged(rule.step, (rule.judge)(&case), Standing::Told, saw);
        }
        let signed = self.steps.signature(config, id, issuer, jwt, online).await?;
        let standing = if signed { Standing::Told } else { Standing::Unverified };
        for rule in AFTER_SIGNATURE {
            let saw = || format!("{}{}", saw(rule.step, &contents, issuer), standing.note());
            self.steps.judged(rule.step, (rule.judge)(&case), standing, saw);
        }
        self.judged_by(route, policies, (id, issuer), &contents.claims, standing);
        Ok(self)
    }

    /// The step about the token's size.
    fn size(&mut self, rules: &Rules, token: &str) {
        self.steps.judged(Step::Size, rules.size(token), Standing::Told, || {
            format!("{} bytes, of at most {}", token.len(), rules.token_bytes)
        });
    }

    /// The steps of an opaque token after its size: its issuer is asked about it.
    async fn opaque(
        mut self,
        config: &Config,
        route: &Route,
        policies: &Policies,
        (token, (id, issuer)): (&str, (IssuerId, &Issuer)),
        online: bool,
    ) -> Result<Self, String> {
        self.steps.passed(Step::Shape, format!("opaque: issuer {} is asked about it", issuer.name));
        if !online {
            self.steps.skipped(Step::Introspection, OFFLINE_OPAQUE);
            return Ok(self);
        }
        let asked = asking::introspect(config, id, token, &asking::fetching()?).await;
        let answer = match asked.ok_or("the issuer is not asked about tokens")? {
            Ok(answer) => answer,
            Err(reject) => return Ok(self.ending(Step::Introspection, reject)),
        };
        let now = NumericDate::from(Clock::system().wall());
        let case = AnswerCase { answer: &answer, issuer, now };
        for rule in BY_ANSWER {
            let saw = || saw_in_answer(rule.step, answer.claims(), issuer);
            self.steps.judged(rule.step, (rule.judge)(&case), Standing::Told, saw);
        }
        if answer.is_active() {
            self.judged_by(route, policies, (id, issuer), answer.claims(), Standing::Told);
        }
        Ok(self)
    }

    /// The steps of each policy that takes the issuer.
    fn judged_by(
        &mut self,
        route: &Route,
        policies: &Policies,
        (id, issuer): (IssuerId, &Issuer),
        claims: &Claims,
        standing: Standing,
    ) {
        for policy in policies.taking(id) {
            let case = PolicyCase { claims, issuer, policy, told: &route.identity_headers };
            let mut steps = Steps::default();
            for rule in BY_POLICY {
                let saw = || format!("{}{}", saw_in_claims(rule.step, claims, issuer), standing.note());
                steps.judged(rule.step, (rule.judge)(&case), standing, saw);
            }
            self.policies.push((policy.name.clone(), steps));
        }
    }
}

impl Steps {
    /// The steps key and signature; whether the signature holds.
    async fn signature(
        &mut self,
        config: &Config,
        id: IssuerId,
        issuer: &Issuer,
        jwt: UnverifiedJwt<'_>,
        online: bool,
    ) -> Result<bool, String> {
        if jwt.contents().header.algorithm().is_none() {
            self.skipped(Step::Key, "no key is for such an algorithm");
            self.skipped(Step::Signature, "there is no key to check it with");
            return Ok(false);
        }
        let Some(keys) = key_sets(config, id, issuer, online)? else {
            self.skipped(Step::Key, OFFLINE);
            self.skipped(Step::Signature, OFFLINE);
            return Ok(false);
        };
        let kid = jwt.contents().header.kid().map(Quoted::from);
        let key = |standing: Standing| match &kid {
            _ if issuer.hmac_secret.is_some() => "the secret of `hmac_secret`".to_owned(),
            Some(kid) => format!("kid {kid}{}", standing.note()),
            None => "the only key that fits".to_owned(),
        };
        match keys.verify((id, issuer), jwt).await {
            Ok(_) => {
                self.passed(Step::Key, key(Standing::Told));
                self.passed(Step::Signature, format!("verifies with a key of {}", issuer.name));
                Ok(true)
            }
            Err(reject @ Reject::SignatureInvalid { .. }) => {
                self.passed(Step::Key, key(Standing::Unverified));
                self.refused(Step::Signature, reject);
                Ok(false)
            }
            Err(reject) => {
                self.refused(Step::Key, reject);
                self.skipped(Step::Signature, "there is no key to check it with");
                Ok(false)
            }
        }
    }
}

/// What the issuer's step saw: who it is, and which of several policies go on to judge its token.
fn taken(issuer: &Issuer, id: IssuerId, policies: &Policies) -> String {
    let by = match policies.all() {
        [_] => String::new(),
        _ => {
            let takers: Vec<_> = policies.taking(id).map(|policy| policy.name.as_str()).collect();
            format!(", taken by policy {}", takers.join(", "))
        }
    };
    format!("{}, dialect {}{by} (unverified)", issuer.name, issuer.recognition.name())
}

/// What a step that let the token pass saw of it.
fn saw(step: Step, contents: &Contents, issuer: &Issuer) -> String {
    if step == Step::Algorithm {
        return contents.header.algorithm_text().map_or_else(String::new, |alg| Quoted::from(alg).to_string());
    }
    if step == Step::Kind {
        let found = kind::classify(contents, issuer);
        let note = if found.kind == TokenKind::Access { "" } else { ", let in by `accept_id_tokens`" };
        return format!("{found}{note}");
    }
    saw_in_claims(step, &contents.claims, issuer)
}

/// The same, of what an issuer answered about it.
fn saw_in_answer(step: Step, claims: &Claims, issuer: &Issuer) -> String {
    match step {
        Step::Introspection => "active".to_owned(),
        Step::Issuer => claims.issuer().map_or_else(
            |_| format!("{}, which was asked; its answer names no other", issuer.name),
            |iss| format!("{}, by its name {}", issuer.name, Quoted::from(iss)),
        ),
        Step::Kind => "nothing marks it as another kind than an access token".to_owned(),
        Step::Time if !claims.has("exp") => "the answer says no end; `active` speaks of the time too".to_owned(),
        Step::Head
        | Step::Route
        | Step::Credential
        | Step::Size
        | Step::Shape
        | Step::Extensions
        | Step::Algorithm
        | Step::Time
        | Step::Key
        | Step::Signature
        | Step::Proof
        | Step::Claims
        | Step::Audience
        | Step::Client
        | Step::Scopes
        | Step::Requirements
        | Step::Forward => saw_in_claims(step, claims, issuer),
    }
}

/// The same, of what needs no header.
fn saw_in_claims(step: Step, claims: &Claims, issuer: &Issuer) -> String {
    let quoted = |text: Option<&str>| text.map_or_else(|| "none".to_owned(), |text| Quoted::from(text).to_string());
    let listed = |values: Vec<&str>| {
        if values.is_empty() {
            return "none".to_owned();
        }
        values.into_iter().map(|value| Quoted::from(value).to_string()).collect::<Vec<_>>().join(", ")
    };
    match step {
        Step::Time => claims.expiry().map_or_else(|_| String::new(), |exp| format!("expires {exp}")),
        Step::Proof => "bound to no key".to_owned(),
        Step::Claims => "every claim that is read has its type".to_owned(),
        Step::Audience => listed(claims.audience().map(|audience| audience.iter().collect()).unwrap_or_default()),
        Step::Client => quoted(issuer.client(claims).ok().flatten()),
        Step::Scopes => listed(issuer.scopes(claims).map(|scopes| scopes.iter().collect()).unwrap_or_default()),
        Step::Requirements => "as the policy asks".to_owned(),
        Step::Head
        | Step::Route
        | Step::Credential
        | Step::Size
        | Step::Shape
        | Step::Extensions
        | Step::Issuer
        | Step::Kind
        | Step::Introspection
        | Step::Algorithm
        | Step::Key
        | Step::Signature
        | Step::Forward => String::new(),
    }
}

/// Why a step was not taken that needs the issuer.
const OFFLINE: &str = "the issuer is asked for its keys only with --online";

/// Why an opaque token is not judged.
const OFFLINE_OPAQUE: &str = "the issuer is asked about the token only with --online";

/// The keys of one issuer: from its file, or from the issuer itself; none where that would have to be asked and may not.
fn key_sets(config: &Config, id: IssuerId, issuer: &Issuer, online: bool) -> Result<Option<KeySets>, String> {
    let at_hand = match asking::key_source(config, id).map(|source| source.origin) {
        None => issuer.hmac_secret.is_some(),
        Some(Origin::File(_)) => true,
        Some(Origin::Discovery(_) | Origin::Uri(_)) => online,
    };
    at_hand.then(|| Ok(asking::key_sets(config, id, &asking::fetching()?))).transpose()
}
