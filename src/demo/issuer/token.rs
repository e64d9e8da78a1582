//! The token endpoint (RFC 6749 section 3.2), and the tokens of a login.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::answer::{self, Form};
use super::memory::Login;
use super::{Desk, Tokens, unique};
use crate::demo::provider::{Provider, Sample, filled};
use crate::demo::signer::SignFault;

/// The code that a login came with, for the hashes in its ID token.
pub(super) struct Redeemed<'a> {
    code: &'a str,
    state: Option<&'a str>,
}

impl Desk {
    /// Answers a grant.
    pub(super) fn token(&self, headers: &HeaderMap, form: &Form) -> Response<Full<Bytes>> {
        if let Some(fault) = self.stranger(headers, form, &self.provider.faults.client) {
            return fault;
        }
        let faults = &self.provider.faults;
        let fault = |fault| answer::fault(fault, &self.name, false);
        match form.get("grant_type") {
            Some("authorization_code") => {
                let (Some(text), Some(uri)) = (form.get("code"), form.get("redirect_uri")) else {
                    return fault(&faults.request);
                };
                let redeemed = self.memory().redeem(text, uri, form.get("code_verifier"), self.now());
                let Some(code) = redeemed else { return fault(&faults.code) };
                let redeemed = Redeemed { code: text, state: code.state.as_deref() };
                self.told(&code.login, self.issue(&code.login, Some(&redeemed), None))
            }
            Some("refresh_token") => {
                let Some(text) = form.get("refresh_token") else { return fault(&faults.request) };
                let renewed = self.memory().renew(text, self.provider.rotation, self.now());
                let Some(renewal) = renewed else { return fault(&faults.refresh) };
                let mut login = renewal.login;
                login.nonce = login.nonce.filter(|_| self.provider.repeats_nonce);
                // Fewer scopes may be asked for, not more (RFC 6749 section 6).
                let asked = form.scopes();
                if !asked.is_empty() {
                    login.scopes.retain(|scope| asked.contains(scope));
                }
                self.told(&login, self.issue(&login, None, renewal.same.then_some(text)))
            }
            Some(_) => fault(&faults.grant_type),
            None => fault(&faults.request),
        }
    }

    /// Makes the tokens of a login; `kept` is the refresh token that stays.
    pub(super) fn issue(
        &self,
        login: &Login,
        redeemed: Option<&Redeemed<'_>>,
        kept: Option<&str>,
    ) -> Result<Tokens, SignFault> {
        let Provider { opaque_access, audience_parameter, lifetimes, .. } = self.provider;
        let unaimed = audience_parameter.is_some() && !login.audience;
        let access = match opaque_access {
            Some(sample) if unaimed => sample,
            _ => &self.provider.access,
        };
        let access = self.one(access, login, lifetimes.access, |_| ())?;
        let openid = login.scopes.iter().any(|scope| scope == "openid");
        let id = openid.then(|| {
            self.one(&self.provider.id, login, lifetimes.id, |claims| identify(claims, login, &access, redeemed))
        });
        let refresh = match kept {
            Some(kept) => Some(kept.to_owned()),
            None => self.refresh_token(login)?,
        };
        Ok(Tokens { access, id: id.transpose()?, refresh, scopes: login.scopes.clone() })
    }

    fn refresh_token(&self, login: &Login) -> Result<Option<String>, SignFault> {
        let Provider { refresh, refresh_needs, lifetimes, .. } = self.provider;
        if refresh_needs.as_ref().is_some_and(|needed| !login.scopes.contains(needed)) {
            return Ok(None);
        }
        let text = self.one(refresh, login, lifetimes.refresh, |_| ())?;
        self.memory().refreshable(text.clone(), login.clone(), lifetimes.refresh, self.now());
        Ok(Some(text))
    }

    /// One token after its sample, which introspection can then be asked about.
    fn one(
        &self,
        sample: &Sample,
        login: &Login,
        lifetime: u64,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<String, SignFault> {
        let (now, jti) = (self.now(), unique()?);
        let (text, answer) = match sample {
            Sample::Opaque { introspection, .. } => {
                let mut answer = filled(introspection, &self.name, now);
                fit(&mut answer, login, &jti, now);
                answer.insert("exp".to_owned(), (now + lifetime).into());
                (unique()?, answer)
            }
            Sample::Jwt { header, claims } => {
                let mut claims = filled(claims, &self.name, now);
                fit(&mut claims, login, &jti, now);
                change(&mut claims);
                (self.sign(header, &claims)?, claims)
            }
        };
        self.memory().issued(text.clone(), answer, Some(login.family.clone()), now);
        Ok(text)
    }

    fn told(&self, login: &Login, tokens: Result<Tokens, SignFault>) -> Response<Full<Bytes>> {
        match tokens {
            Ok(tokens) => {
                let mut body = json!({
                    "access_token": tokens.access,
                    "token_type": "Bearer",
                    "expires_in": self.provider.lifetimes.access,
                    "scope": login.scopes.join(" "),
                });
                for (member, token) in [("id_token", tokens.id), ("refresh_token", tokens.refresh)] {
                    if let Some(token) = token {
                        body[member] = token.into();
                    }
                }
                answer::good(&body)
            }
            Err(fault) => answer::broken(&fault),
        }
    }
}

/// Fits the claims of a sample to the login. A claim that the sample does not have is not added.
fn fit(claims: &mut Map<String, Value>, login: &Login, jti: &str, now: u64) {
    let mut set = |name: &str, value: Value| {
        if let Some(claim) = claims.get_mut(name) {
            *claim = value;
        }
    };
    for time in ["iat", "nbf"] {
        set(time, now.into());
    }
    set("auth_time", login.at.into());
    set("jti", jti.into());
    if let Some(Value::Array(scopes)) = claims.get_mut("scope") {
        *scopes = login.scopes.iter().cloned().map(Value::String).collect();
    } else if let Some(scope) = claims.get_mut("scope") {
        *scope = login.scopes.join(" ").into();
    }
    match &login.nonce {
        Some(nonce) if claims.contains_key("nonce") => drop(claims.insert("nonce".to_owned(), nonce.as_str().into())),
        _ => drop(claims.remove("nonce")),
    }
}

/// What binds an ID token to its login (OpenID Connect Core sections 2 and 3.3.2.11): the nonce, and the hashes that the
/// sample has.
fn identify(claims: &mut Map<String, Value>, login: &Login, access: &str, redeemed: Option<&Redeemed<'_>>) {
    if let Some(nonce) = &login.nonce {
        claims.insert("nonce".to_owned(), nonce.as_str().into());
    }
    let hashed = [
        ("at_hash", Some(access)),
        ("c_hash", redeemed.map(|redeemed| redeemed.code)),
        ("s_hash", redeemed.and_then(|redeemed| redeemed.state)),
    ];
    for (name, of) in hashed {
        match of {
            Some(of) if claims.contains_key(name) => drop(claims.insert(name.to_owned(), half(of).into())),
            _ => drop(claims.remove(name)),
        }
    }
}

/// The left half of the SHA-256, as for all algorithms that end in 256 (OpenID Connect Core section 3.1.3.6).
fn half(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}
