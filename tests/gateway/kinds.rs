//! Which tokens are access tokens: every sample of the corpus over the wire, under every rule an operator may choose.

mod corpus;
mod own;

use bearward::policy::dialect::DIALECTS;
use bearward::policy::reject::Code;

use self::corpus::{Lab, Mode, OpaqueSample, Sample, opaque_samples, samples};
use crate::harness::client::Answer;

const ALLOW: &str = "allow";
const ID: &str = "id_token_presented";
const REFRESH: &str = "refresh_token_presented";
const LOGOUT: &str = "logout_token_presented";
const UNKNOWN: &str = "token_kind_unknown";
const AUDIENCE: &str = "audience_wrong";
const CLIENT: &str = "client_refused";
const ISSUER: &str = "issuer_unknown";

/// What each sample gets: strictly by RFC 9068, by evidence, and by the dialect of its product.
const DECISIONS: &[(&str, [&str; 3])] = &[
    ("am-access-user", [UNKNOWN, UNKNOWN, ALLOW]),
    ("am-access-nonce", [UNKNOWN, UNKNOWN, ALLOW]),
    ("am-access-cc-hs256", [UNKNOWN, UNKNOWN, ALLOW]),
    ("am-refresh", [REFRESH, REFRESH, REFRESH]),
    ("am-id", [ID, ID, ID]),
    ("express-access", [UNKNOWN, UNKNOWN, ALLOW]),
    ("express-m2m", [UNKNOWN, UNKNOWN, ALLOW]),
    ("express-id", [ID, ID, ID]),
    ("express-refresh", [REFRESH, REFRESH, REFRESH]),
    ("genauth-id-hs256", [ID, ID, ID]),
    ("genauth-id-rs256", [ID, ID, ID]),
    ("genauth-access-user", [UNKNOWN, UNKNOWN, ALLOW]),
    ("genauth-access-m2m", [UNKNOWN, ALLOW, ALLOW]),
    ("auth0-access-user", [UNKNOWN, ALLOW, ALLOW]),
    ("auth0-access-rfc9068", [ALLOW, ALLOW, ALLOW]),
    ("auth0-access-rbac", [UNKNOWN, UNKNOWN, ALLOW]),
    ("auth0-access-m2m", [UNKNOWN, ALLOW, ALLOW]),
    ("auth0-id", [ID, ID, ID]),
    ("auth0-id-wide-audience", [ID, ID, ID]),
    ("auth0-logout", [LOGOUT, LOGOUT, LOGOUT]),
    ("keycloak-access", [UNKNOWN, ALLOW, ALLOW]),
    ("keycloak-access-nonce", [UNKNOWN, UNKNOWN, ALLOW]),
    ("keycloak-access-default-aud", [UNKNOWN, AUDIENCE, AUDIENCE]),
    ("keycloak-access-atjwt", [ALLOW, ALLOW, ALLOW]),
    ("keycloak-id", [ID, ID, ID]),
    ("keycloak-id-api-audience", [ID, ID, ID]),
    ("keycloak-refresh", [REFRESH, REFRESH, REFRESH]),
    ("keycloak-offline", [REFRESH, REFRESH, REFRESH]),
    ("keycloak-logout", [LOGOUT, LOGOUT, LOGOUT]),
    ("keycloak-service-account", [UNKNOWN, ALLOW, ALLOW]),
    ("okta-access", [UNKNOWN, ALLOW, ALLOW]),
    ("okta-id", [ID, ID, ID]),
    // Of the organisation's own authorization server, whose `iss` is another one.
    ("okta-org-access", [ISSUER, ISSUER, ISSUER]),
    ("entra-v2-delegated", [UNKNOWN, ALLOW, ALLOW]),
    ("entra-v1-delegated", [UNKNOWN, ALLOW, ALLOW]),
    ("entra-v2-app-only", [UNKNOWN, UNKNOWN, ALLOW]),
    ("entra-v2-id", [ID, ID, ID]),
    ("entra-v2-id-same-app", [ID, ID, ID]),
    ("entra-graph", [UNKNOWN, AUDIENCE, AUDIENCE]),
    // Without an audience evidence refuses everybody.
    ("cognito-access", [UNKNOWN, AUDIENCE, ALLOW]),
    ("cognito-access-other-client", [UNKNOWN, AUDIENCE, CLIENT]),
    ("cognito-id", [ID, ID, ID]),
    ("google-id", [ID, ID, ID]),
    ("hydra-access", [UNKNOWN, ALLOW, ALLOW]),
    ("hydra-access-empty-aud", [UNKNOWN, AUDIENCE, AUDIENCE]),
    ("hydra-id", [ID, ID, ID]),
    // Dex has ID tokens alone; its own dialect is set up with `accept_id_tokens`.
    ("dex-access", [ID, ID, ALLOW]),
    ("dex-id", [ID, ID, ALLOW]),
    ("oidcp-access", [ALLOW, ALLOW, ALLOW]),
    ("oidcp-id", [ID, ID, ID]),
    ("oidcp-logout", [LOGOUT, LOGOUT, LOGOUT]),
    ("oidcp-introspection-jwt", [UNKNOWN, UNKNOWN, UNKNOWN]),
    ("zitadel-access", [UNKNOWN, UNKNOWN, ALLOW]),
    ("zitadel-id", [ID, ID, ID]),
    ("zitadel-id-machine", [ID, ID, ID]),
    // Profile claims and no scopes: where the dialect is not told, it looks like an ID token.
    ("authentik-access", [ID, ID, ALLOW]),
    ("authentik-id", [ID, ID, ID]),
    ("curity-access", [UNKNOWN, UNKNOWN, ALLOW]),
    ("curity-id", [ID, ID, ID]),
    ("pingfederate-access", [UNKNOWN, ALLOW, ALLOW]),
    ("duende-access", [ALLOW, ALLOW, ALLOW]),
    ("duende-id", [ID, ID, ID]),
    ("k8s-serviceaccount", [UNKNOWN, UNKNOWN, ALLOW]),
    ("github-actions", [UNKNOWN, UNKNOWN, ALLOW]),
];

/// What each opaque sample gets, by what its issuer answers about it.
const OPAQUE_DECISIONS: &[(&str, &str)] = &[
    ("am-opaque-access", ALLOW),
    ("am-opaque-refresh", REFRESH),
    ("am-opaque-foreign-client", "token_inactive"),
    ("genauth-opaque-refresh", UNKNOWN),
    ("genauth-opaque-access", ALLOW),
    ("genauth-inactive", "token_inactive"),
    // These cannot be asked about.
    ("auth0-opaque-access", "token_malformed"),
    ("auth0-opaque-jwe", "token_malformed"),
    ("okta-refresh", UNKNOWN),
    // It has the form of a JWT: nobody is asked about it, though its issuer would call it active.
    ("okta-idtoken-introspected", "token_malformed"),
    ("google-access", "token_malformed"),
    ("hydra-opaque-access", ALLOW),
    ("hydra-opaque-refresh", REFRESH),
    ("oidcp-opaque-access", ALLOW),
    ("oidcp-opaque-refresh", UNKNOWN),
];

/// `allow`, or the code of a refusal whose status is that code's.
fn decision(answer: &Answer) -> String {
    if answer.status == 200 {
        return ALLOW.to_owned();
    }
    let code = answer.code();
    let known = Code::ALL.iter().find(|known| known.facts().name == code);
    assert_eq!(known.map(|code| code.facts().status), Some(answer.status), "{code}");
    code
}

/// The table names every sample once, and decides as the corpus demands.
#[test]
fn the_table_is_whole_and_agrees_with_the_corpus() {
    let samples = samples();
    let named: Vec<&str> = DECISIONS.iter().map(|(id, _)| *id).collect();
    assert_eq!(named, samples.iter().map(|sample| sample.id.as_str()).collect::<Vec<_>>());
    for (sample, (id, decisions)) in samples.iter().zip(DECISIONS) {
        for (mode, decision) in Mode::ALL.into_iter().zip(decisions) {
            let expected = if *decision == ALLOW { "allow" } else { "deny" };
            assert_eq!(sample.expect[mode.name()], expected, "{id}, {mode:?}");
        }
    }
}

#[tokio::test]
async fn every_sample_gets_its_decision_in_every_mode() {
    let samples = samples();
    let mut surprises = Vec::new();
    for (column, mode) in Mode::ALL.into_iter().enumerate() {
        let lab = Lab::start(&samples, |sample| sample.recognised_by(mode), Sample::policy).await;
        let mut passed = Vec::new();
        for (sample, (id, decisions)) in samples.iter().zip(DECISIONS) {
            let decision = decision(&lab.ask(sample).await);
            if decision == ALLOW {
                passed.push(format!("/{id}"));
            }
            if decision != decisions[column] {
                surprises.push(format!("{id}, {mode:?}: {decision}, not {}", decisions[column]));
            }
        }
        let seen: Vec<_> = lab.upstream.requests().iter().map(|request| request.target().to_owned()).collect();
        assert_eq!(seen, passed, "{mode:?}: the API saw what was allowed, and nothing else");
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// The table names every opaque sample once, and decides as the corpus demands.
#[tokio::test]
async fn every_opaque_sample_gets_its_decision() {
    let samples = opaque_samples();
    let named: Vec<&str> = OPAQUE_DECISIONS.iter().map(|(id, _)| *id).collect();
    assert_eq!(named, samples.iter().map(|sample| sample.id.as_str()).collect::<Vec<_>>());
    for (sample, (id, expected)) in samples.iter().zip(OPAQUE_DECISIONS) {
        let OpaqueSample { kind, expect, .. } = sample;
        let wanted = if *expected == ALLOW { "allow" } else { "deny" };
        assert_eq!(expect["introspection"], wanted, "{id}");
        assert!(*expected != ALLOW || kind == "access", "{id}");
        assert_eq!(decision(&sample.ask().await), *expected, "{id}");
    }
}

/// The samples that are ID, refresh or logout tokens.
fn not_for_apis() -> Vec<Sample> {
    let mut samples = samples();
    samples.retain(|sample| ["id", "refresh", "logout"].contains(&sample.kind.as_str()));
    assert_eq!(samples.len(), 28);
    samples
}

/// A policy that leaves nothing but the kind to refuse a token: it asks for what the token has.
fn lenient(sample: &Sample) -> String {
    format!("audience = {:?}, claims = {{ sub = {:?} }}", sample.audiences(), sample.claims["sub"].as_str().unwrap())
}

/// Whatever dialect the operator has chosen, right or wrong, an ID, refresh or logout token does not pass.
#[tokio::test]
async fn under_no_dialect_does_another_kind_pass() {
    let samples = not_for_apis();
    for dialect in DIALECTS.iter() {
        let lab = Lab::start(&samples, |_| format!("dialect = \"{}\"\n", dialect.name), lenient).await;
        for sample in &samples {
            let expected = match sample.kind.as_str() {
                "id" => ID,
                "refresh" => REFRESH,
                _ => LOGOUT,
            };
            assert_eq!(decision(&lab.ask(sample).await), expected, "{}, dialect {}", sample.id, dialect.name);
        }
        assert_eq!(lab.upstream.opened(), 0, "{}", dialect.name);
    }
}

/// `accept_id_tokens` lets ID tokens in, and still neither refresh nor logout tokens.
#[tokio::test]
async fn accepting_id_tokens_accepts_nothing_else() {
    let samples = not_for_apis();
    for dialect in ["rfc9068", "dex", "forgerock", "evidence", "google"] {
        // No token of Google is meant for our APIs, whatever else is set.
        let takes_nothing = dialect == "google";
        let recognised = |_: &Sample| format!("dialect = \"{dialect}\"\naccept_id_tokens = true\n");
        let lab = Lab::start(&samples, recognised, lenient).await;
        for sample in &samples {
            let expected = match sample.kind.as_str() {
                "id" if takes_nothing => ID,
                // Keyed with a client's secret, which an issuer with public keys never is.
                "id" if sample.header["alg"] == "HS256" => "algorithm_refused",
                "id" => ALLOW,
                "refresh" => REFRESH,
                _ => LOGOUT,
            };
            assert_eq!(decision(&lab.ask(sample).await), expected, "{}, dialect {dialect}", sample.id);
        }
    }
}
