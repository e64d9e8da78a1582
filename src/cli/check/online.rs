//! `bearward check --online`: asks each issuer what `run` will ask it, and says what will go wrong.
//!
//! The keys are fetched by the very code that `run` fetches them with, so what it refuses is refused here: an issuer
//! that cannot be reached, a document of another issuer, a set without a usable key. Beyond that it is seen whether the
//! keys are for the configured algorithms, whether the clocks agree, and, where the issuer is asked about opaque tokens,
//! whether it answers us: about a token that we made up, which must not be active. Where it logs browsers in it is seen
//! whether it has the endpoints for that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde::Serialize;
use url::Url;

use crate::cli::asking;
use crate::config::Config;
use crate::policy::introspection::Answer;
use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::Algorithm;
use crate::policy::reject::Reject;
use crate::remote::clock::Clock;
use crate::remote::discovery::Fault;
use crate::remote::http::Client;
use crate::remote::jwks::source::{KeySource, Origin};
use crate::remote::jwks::{Fetching, PATIENCE};

/// What became of asking one issuer.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    issuer: String,
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    about: &'static str,
    saw: String,
    /// What would mend it; nothing where it is good.
    cure: Option<&'static str>,
}

impl Finding {
    fn good(about: &'static str, saw: impl Into<String>) -> Self {
        Self { about, saw: saw.into(), cure: None }
    }

    fn bad(about: &'static str, saw: impl Into<String>, cure: &'static str) -> Self {
        Self { about, saw: saw.into(), cure: Some(cure) }
    }
}

impl Asked {
    /// Whether all is good.
    pub(super) fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.cure.is_none())
    }
}

/// Asks every issuer of the configuration, all at once.
///
/// # Errors
///
/// The system's reason, where not even plain calls are possible.
pub(super) fn ask(config: &Config) -> Result<Vec<Asked>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("cannot start a runtime: {why}"))?;
    runtime.block_on(async {
        let fetching = asking::fetching()?;
        let issuers = config.rules.issuers.iter().enumerate();
        let asked = issuers.map(async |(index, issuer)| Asked {
            issuer: issuer.name.clone(),
            findings: findings(config, IssuerId(index), issuer, &fetching).await,
        });
        Ok(join_all(asked).await)
    })
}

async fn findings(config: &Config, id: IssuerId, issuer: &Issuer, fetching: &Fetching) -> Vec<Finding> {
    let mut findings = match asking::key_source(config, id) {
        Some(source) => keys(&source, issuer, &fetching.client, &fetching.clock).await,
        None => vec![Finding::good("keys", "none are fetched: it signs with its secret")],
    };
    findings.extend(asking::login(config, id, fetching).await.map(login));
    findings.extend(asking::introspect(config, id, MADE_UP, fetching).await.map(introspection));
    findings
}

fn login(learned: Result<[Url; 2], Fault>) -> Finding {
    const ABOUT: &str = "login";
    match learned {
        Ok([authorization, tokens]) => {
            Finding::good(ABOUT, format!("browsers are sent to {authorization}, tokens come from {tokens}"))
        }
        Err(fault) => Finding::bad(ABOUT, fault.to_string(), fault.help()),
    }
}

/// No issuer made this token.
const MADE_UP: &str = "made-up-by-bearward-check";

fn introspection(answer: Result<Arc<Answer>, Reject>) -> Finding {
    const ABOUT: &str = "opaque";
    match answer {
        Ok(answer) if answer.is_active() => Finding::bad(
            ABOUT,
            "the introspection endpoint calls a token active that we made up",
            "see what is at this endpoint: whoever asks it would let everybody in",
        ),
        Ok(_) => Finding::good(ABOUT, "the introspection endpoint answers us"),
        Err(reject) => Finding::bad(ABOUT, reject.cause(), reject.help()),
    }
}

async fn keys(source: &KeySource, issuer: &Issuer, client: &Client, clock: &Clock) -> Vec<Finding> {
    let fetched = match source.fetch(client, clock, clock.now().after(PATIENCE)).await {
        Ok(fetched) => fetched,
        Err(error) => return vec![Finding::bad("keys", error.to_string(), error.help())],
    };
    let mut findings = Vec::new();
    if let Origin::Discovery(document) = &source.origin {
        findings.push(Finding::good("issuer", format!("{document} names exactly this issuer")));
    }
    findings.push(Finding::good("keys", usable(&fetched.keys)));
    findings.push(algorithms(&fetched.keys, issuer));
    findings.extend(fetched.date.map(|theirs| clocks(theirs, clock.wall(), issuer)));
    findings
}

fn usable(keys: &JwkSet) -> String {
    let left_out = if keys.unusable().is_empty() { String::new() } else { format!("; left out: {}", keys.left_out()) };
    format!("{} usable{left_out}", keys.len())
}

fn algorithms(keys: &JwkSet, issuer: &Issuer) -> Finding {
    let names = |algorithms: &[_]| {
        algorithms.iter().map(|algorithm: &Algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
    };
    let offered: Vec<_> = keys.algorithms();
    let both: Vec<_> = offered.iter().copied().filter(|algorithm| issuer.algorithms.contains(algorithm)).collect();
    if both.is_empty() {
        let saw = format!("its keys are for {}, and `algorithms` has {}", names(&offered), names(&issuer.algorithms));
        return Finding::bad("algorithms", saw, "set `algorithms` of the issuer to what it signs access tokens with");
    }
    Finding::good("algorithms", names(&both))
}

/// Dates have whole seconds, and the answer took its time: what is less than two seconds is no difference.
fn clocks(theirs: SystemTime, ours: SystemTime, issuer: &Issuer) -> Finding {
    let (ahead, by) = match theirs.duration_since(ours) {
        Ok(by) => (true, by),
        Err(behind) => (false, behind.duration()),
    };
    if by < Duration::from_secs(2) {
        return Finding::good("clock", "agrees with ours");
    }
    let saw = format!("{} s {} ours", by.as_secs(), if ahead { "ahead of" } else { "behind" });
    if by.as_secs() <= issuer.leeway {
        return Finding::good("clock", format!("{saw}, within `leeway` ({} s)", issuer.leeway));
    }
    let cure = "set both clocks by NTP; until then tokens are refused as not yet valid, or live too long";
    Finding::bad("clock", format!("{saw}, more than `leeway` ({} s)", issuer.leeway), cure)
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked {}", self.issuer)?;
        for Finding { about, saw, cure } in &self.findings {
            let verdict = if cure.is_none() { "ok  " } else { "FAIL" };
            writeln!(f, "  {verdict}  {about:<10} {saw}")?;
            if let Some(cure) = cure {
                writeln!(f, "        {:<10} cure: {cure}", "")?;
            }
        }
        writeln!(f)
    }
}
