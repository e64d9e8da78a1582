//! What can still be told of a token that is no signed JWT, or a broken one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::facts::Fact;
use super::signature::Why;
use crate::policy::json::{Json, Object};
use crate::policy::reject::Reject;

/// What such a token is, and why nothing more can be said of it.
pub(super) fn unread(token: &str, reject: &Reject) -> (Vec<Fact>, Why) {
    let parts: Vec<&str> = token.split('.').collect();
    let header = parts.first().and_then(|part| decoded(part));
    let header = header.as_ref().and_then(Json::as_object);
    let (kind, why) = match (parts.as_slice(), header) {
        ([""], _) => {
            ("no token", Why::new("there is nothing in the text", "put the token into the file, or pipe it in"))
        }
        ([_, _, _], _) => ("broken JWT", broken(&parts, reject)),
        ([_, _, _, _, _], Some(_)) => {
            let cure = "let the issuer send signed tokens for this API: nothing is decrypted here";
            ("encrypted JWT", Why::new("it is encrypted (RFC 7516), for whoever has the key", cure))
        }
        (_, Some(_)) => {
            let cause = format!("it has {} of the three parts of a signed JWT", parts.len());
            ("broken JWT", Why::new(cause, "copy it again, whole: something was cut off or added"))
        }
        (_, None) => ("opaque token", Why::new(opaque(token), OPAQUE_CURE)),
    };
    let mut facts = vec![Fact::new("kind", kind, kind)];
    for (name, member) in [("algorithm", "alg"), ("encryption", "enc"), ("kid", "kid"), ("type", "typ")] {
        if let Some(text) = header.and_then(|header| header.get(member)).and_then(Json::as_str) {
            facts.push(Fact::text(name, Ok(Some(text))));
        }
    }
    (facts, why)
}

fn opaque(token: &str) -> String {
    format!("it is opaque: {} characters of which only its issuer knows what they mean", token.chars().count())
}

const OPAQUE_CURE: &str = "let the gateway ask its issuer (`introspection`), or get a token with the API as audience: many issuers then send a JWT";

/// What is wrong with the parts of a JWT, with the members that it repeats.
fn broken(parts: &[&str], reject: &Reject) -> Why {
    let mut repeated = Vec::new();
    for part in &parts[..2] {
        if let Some(json) = decoded(part) {
            repeats(&json, &mut repeated);
        }
    }
    if repeated.is_empty() {
        return Why::new(reject.cause(), "copy it again, whole; if its issuer sends it so, it must be mended there");
    }
    let cause = format!("{}: {}", reject.cause(), repeated.join(", "));
    Why::new(cause, "it could be read two ways, so nobody should: its issuer must write each name once")
}

fn decoded(part: &str) -> Option<Json> {
    URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| Json::parse(&bytes).ok())
}

/// The names that stand twice in one object, at any depth.
fn repeats(json: &Json, repeated: &mut Vec<String>) {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        Json::Array(items) => items.iter().for_each(|item| repeats(item, repeated)),
        Json::Object(object) => {
            repeated.extend(names(object));
            object.iter().for_each(|(_, value)| repeats(value, repeated));
        }
    }
}

fn names(object: &Object) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut twice: Vec<_> = object.iter().map(|(name, _)| name).filter(|name| !seen.insert(*name)).collect();
    twice.dedup();
    twice.into_iter().map(|name| format!("`{}`", name.escape_debug())).collect()
}
