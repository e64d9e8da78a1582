//! Introspection (RFC 7662) and revocation (RFC 7009).

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{self, Form};
use crate::demo::provider::Fault;

impl Desk {
    /// What is known of a token.
    pub(super) fn introspect(&self, headers: &HeaderMap, form: &Form) -> Response<Full<Bytes>> {
        let faults = &self.provider.faults;
        if let Some(fault) = self.stranger(headers, form, faults.introspection.as_ref().unwrap_or(&faults.client)) {
            return fault;
        }
        let Some(token) = form.get("token") else { return answer::fault(&faults.request, &self.name, false) };
        if !self.provider.introspects_jwt && token.split('.').count() == 3 {
            return answer::fault(&unsupported(), &self.name, false);
        }
        let mut body = json!({ "active": false });
        if let Some(answer) = self.memory().asked(token, self.now()) {
            body = Value::Object(answer.clone());
            if body.get("active").is_none() {
                // Of a JWT its claims are told.
                body["active"] = true.into();
            }
        }
        answer::good(&body)
    }

    /// Ends a token. One that is unknown has ended already.
    pub(super) fn revoke(&self, headers: &HeaderMap, form: &Form) -> Response<Full<Bytes>> {
        let faults = &self.provider.faults;
        if let Some(fault) = self.stranger(headers, form, &faults.client) {
            return fault;
        }
        let Some(token) = form.get("token") else { return answer::fault(&faults.request, &self.name, false) };
        self.memory().revoke(token);
        answer::good(&json!({}))
    }
}

/// RFC 7009 section 2.2.1, as node's oidc-provider answers introspection of a JWT.
fn unsupported() -> Fault {
    Fault {
        status: 400,
        error: "unsupported_token_type".to_owned(),
        error_description: Some("Structured JWT Tokens cannot be introspected".to_owned()),
        challenge: None,
    }
}
