//! The authorization endpoint (RFC 6749 section 4.1) and the end of the session (OpenID Connect RP-Initiated Logout).
//!
//! The person is logged in already and has agreed: whoever asks rightly is sent back with a code at once.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use url::Url;

use super::answer::{self, Form};
use super::memory::{Code, Login};
use super::{Desk, unique};
use crate::demo::provider::{Fault, Provider};
use crate::demo::signer::SignFault;

/// What is asked for, and can be had.
struct Asked {
    scopes: Vec<String>,
    audience: bool,
}

/// An error that the client hears of by redirect.
struct Wrong<'a> {
    error: &'a str,
    description: Option<&'a str>,
}

impl Desk {
    /// Sends the browser back to the client, with a code or an error.
    pub(super) fn authorize(&self, query: &Form) -> Response<Full<Bytes>> {
        let faults = &self.provider.faults;
        // Until both are known to be good nobody is sent anywhere (RFC 6749 section 4.1.2.1).
        if query.get("client_id") != Some(self.provider.client()) {
            return answer::fault(&faults.client, &self.name, false);
        }
        let Some(redirect_uri) = query.get("redirect_uri").and_then(|uri| self.registered(uri)) else {
            return answer::fault(&faults.redirect, &self.name, false);
        };
        let issuer = self.provider.announces_issuer.then_some(self.name.as_str());
        let back = |parameters: &[(&str, Option<&str>)]| {
            let parameters = [parameters, &[("state", query.get("state")), ("iss", issuer)]].concat();
            answer::redirect(redirect_uri.clone(), &parameters)
        };
        match self.judged(query) {
            Ok(asked) => match self.code(query, &redirect_uri, asked) {
                Ok(code) => back(&[("code", Some(&code))]),
                Err(fault) => answer::broken(&fault),
            },
            Err(Wrong { error, description }) => back(&[("error", Some(error)), ("error_description", description)]),
        }
    }

    fn judged<'a>(&'a self, query: &Form) -> Result<Asked, Wrong<'a>> {
        let Provider { faults, scopes, audience, audience_parameter, .. } = self.provider;
        if query.get("response_type") != Some("code") {
            return Err(Wrong { error: "unsupported_response_type", description: None });
        }
        if query.get("code_challenge").is_some() && query.get("code_challenge_method") != Some("S256") {
            return Err(Wrong { error: "invalid_request", description: Some("code_challenge_method must be S256") });
        }
        let mut asked = query.scopes();
        if let Some(fault) = &faults.scope
            && asked.iter().any(|scope| !scopes.contains(scope))
        {
            return Err(fault.into());
        }
        asked.retain(|scope| scopes.contains(scope));
        let wanted = audience_parameter.as_deref().and_then(|parameter| query.get(parameter));
        if let (Some(wanted), Some(fault)) = (wanted, &faults.audience)
            && !audience.iter().any(|known| known == wanted)
        {
            return Err(fault.into());
        }
        Ok(Asked { scopes: asked, audience: wanted.is_some() })
    }

    fn code(&self, query: &Form, redirect_uri: &Url, asked: Asked) -> Result<String, SignFault> {
        let text = unique()?;
        let owned = |name: &str| query.get(name).map(str::to_owned);
        let login = Login {
            family: unique()?,
            scopes: asked.scopes,
            audience: asked.audience,
            nonce: owned("nonce"),
            at: self.now(),
        };
        let code = Code {
            login,
            redirect_uri: redirect_uri.to_string(),
            challenge: owned("code_challenge"),
            state: owned("state"),
        };
        self.memory().coded(text.clone(), code, self.now());
        Ok(text)
    }

    /// Sends the browser back to the client, where it may be sent.
    pub(super) fn end_session(&self, query: &Form) -> Response<Full<Bytes>> {
        match query.get("post_logout_redirect_uri").and_then(|uri| self.registered(uri)) {
            Some(uri) => answer::redirect(uri, &[("state", query.get("state"))]),
            None => answer::fault(&self.provider.faults.redirect, &self.name, false),
        }
    }
}

impl<'a> From<&'a Fault> for Wrong<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self { error: &fault.error, description: fault.error_description.as_deref() }
    }
}
