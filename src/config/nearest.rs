//! "Did you mean": the known word that a wrong one stands for, or is closest to.

/// How alike two words must be to be taken for a slip of the pen (0 to 1, Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// What to write instead of a name that nothing of the file has: the nearest of `known`, or, where there is none, a table
/// of that name in `section`, with what it needs.
pub(super) fn defined<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, section: &str, needs: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() { format!("add `[{section}.{word}]` with {needs}") } else { suggest(word, known) }
}

/// What to write instead of `word`: the nearest of `known`, or, when none is near, all of them.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match likely(word, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// What was likely meant by `word` where `known` are the words.
pub(super) fn likely<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let table = |ours: &'static str| ours.split_once('.').map_or(ours, |(table, _)| table);
    synonyms(word).find(|ours| known.contains(&table(ours))).or_else(|| nearest(&plain(word), known))
}

/// What others mean by this word, in ours.
pub(super) fn synonyms(word: &str) -> impl Iterator<Item = &'static str> {
    let word = plain(word);
    SYNONYMS.iter().filter(move |(theirs, _)| *theirs == word).map(|(_, ours)| *ours)
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &str| {
        let known = plain(known);
        // Of a short word the two letters that changed places are much, and still a slip of the pen.
        let slip = word.len() > 2 && strsim::osa_distance(word, &known) == 1;
        strsim::jaro_winkler(word, &known).max(if slip { ALIKE } else { 0.0 })
    };
    known
        .iter()
        .map(|known| (*known, likeness(known)))
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(known, _)| known)
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// What others call our options and values, and our word for it. A word may have several: the first that is known where
/// it was written counts. `a.b` is the option `b` in the table `a`.
const SYNONYMS: &[(&str, &str)] = &[
    // Whose tokens
    ("iss", "issuer"),
    ("authority", "issuer"),
    ("provider", "dialect"),
    ("preset", "dialect"),
    ("flavor", "dialect"),
    ("algs", "algorithms"),
    ("alg", "algorithms"),
    ("clock_skew", "leeway"),
    ("clock_tolerance", "leeway"),
    ("skew", "leeway"),
    ("jwks_uri", "jwks.uri"),
    ("jwks_url", "jwks.uri"),
    ("jwks_file", "jwks.file"),
    ("metadata_url", "discovery_url"),
    ("well_known", "discovery_url"),
    ("well_known_url", "discovery_url"),
    ("shared_secret", "hmac_secret"),
    ("authorization_endpoint", "endpoints.authorization"),
    ("token_endpoint", "endpoints.token"),
    ("end_session_endpoint", "endpoints.end_session"),
    ("revocation_endpoint", "endpoints.revocation"),
    ("introspection_endpoint", "introspection.endpoint"),
    ("introspection_url", "introspection.endpoint"),
    ("client_auth_method", "auth_method"),
    ("token_endpoint_auth_method", "auth_method"),
    ("ca", "tls.ca"),
    ("ca_file", "tls.ca"),
    // What they must say
    ("aud", "audience"),
    ("audiences", "audience"),
    ("required_scopes", "scopes"),
    ("required_scope", "scopes"),
    ("all_scopes", "scopes"),
    ("one_of_scopes", "any_scope"),
    ("required_claims", "claims"),
    ("clients", "client_ids"),
    ("allowed_clients", "client_ids"),
    ("azp", "client_ids"),
    ("allow_anonymous", "anonymous"),
    ("optional", "anonymous"),
    ("dry_run", "mode"),
    ("permissive", "mode"),
    // Where they go
    ("backend", "upstream"),
    ("target", "upstream"),
    ("service", "upstream"),
    ("proxy_pass", "upstream"),
    ("prefix", "path"),
    ("location", "path"),
    ("uri", "path"),
    ("domains", "hosts"),
    ("server_name", "hosts"),
    ("verbs", "methods"),
    ("auth", "policy"),
    ("strip_path", "strip_prefix"),
    ("allowed_origins", "cors.origins"),
    ("allow_origins", "cors.origins"),
    ("address", "url"),
    ("target", "url"),
    ("uri", "url"),
    ("headers", "identity_headers"),
    ("set_headers", "identity_headers"),
    // What serves them
    ("address", "listen"),
    ("bind", "listen"),
    ("port", "listen"),
    ("threads", "workers"),
    ("max_connections", "connections"),
    ("client_max_body_size", "body_bytes"),
    ("max_body_size", "body_bytes"),
    ("max_header_bytes", "head_bytes"),
    ("trusted_ips", "trusted_proxies"),
    ("set_real_ip_from", "trusted_proxies"),
    // Dialects
    ("aad", "entra"),
    ("azure", "entra"),
    ("azure_ad", "entra"),
    ("microsoft", "entra"),
    ("aws", "cognito"),
    ("amazon", "cognito"),
    ("authing", "genauth"),
    ("am", "forgerock"),
    ("openam", "forgerock"),
    ("pingam", "forgerock"),
    ("identityserver", "duende"),
    ("k8s", "kubernetes"),
    ("ory", "hydra"),
    ("ping", "pingfederate"),
    ("default", "rfc9068"),
    ("strict", "rfc9068"),
    // Other values
    ("dry_run", "shadow"),
    ("permissive", "shadow"),
    ("log_only", "shadow"),
    ("strict", "enforce"),
    ("allow", "keep"),
    ("deny", "refuse"),
    ("drop", "remove"),
    ("strip", "remove"),
    ("forward", "keep"),
    ("pass", "keep"),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{SYNONYMS, defined, suggest};
    use crate::config::schema;

    #[test]
    fn the_nearest_is_named() {
        let known = ["audience", "any_scope", "client_ids", "scopes"];
        for (word, near) in
            [("audiences", "audience"), ("scope", "scopes"), ("client-ids", "client_ids"), ("AUDIENCE", "audience")]
        {
            assert_eq!(suggest(word, known), format!("did you mean `{near}`?"));
        }
    }

    #[test]
    fn what_others_call_it_is_known() {
        assert_eq!(suggest("jwks_uri", ["issuer", "jwks"]), "did you mean `jwks.uri`?");
        assert_eq!(suggest("jwks-url", ["issuer", "jwks"]), "did you mean `jwks.uri`?");
        assert_eq!(suggest("uri", ["path", "upstream"]), "did you mean `path`?");
        assert_eq!(suggest("uri", ["url", "timeout"]), "did you mean `url`?");
        assert_eq!(suggest("Azure-AD", ["auth0", "entra"]), "did you mean `entra`?");
        assert_eq!(suggest("backend", ["one", "two"]), "known here: `one`, `two`");
    }

    #[test]
    fn every_synonym_leads_to_a_word_of_ours() {
        let mut words = Vec::new();
        gather(&schema(), &mut words);
        for (theirs, ours) in SYNONYMS {
            let (table, option) = ours.split_once('.').unwrap_or((ours, ours));
            assert!(words.iter().any(|word| word == table) && words.iter().any(|word| word == option), "{ours}");
            assert_ne!(theirs, ours);
        }
    }

    /// The names of all options, and the values of all closed lists.
    fn gather(schema: &Value, words: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                words.extend(
                    members
                        .get("properties")
                        .and_then(Value::as_object)
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.clone()),
                );
                words.extend(
                    members
                        .get("enum")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(str::to_owned),
                );
                members.values().for_each(|value| gather(value, words));
            }
            Value::Array(items) => items.iter().for_each(|item| gather(item, words)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn a_strange_word_gets_the_whole_list() {
        assert_eq!(suggest("tow", ["one", "two"]), "did you mean `two`?");
        assert_eq!(suggest("zzz", ["one", "two"]), "known here: `one`, `two`");
        assert_eq!(defined("tow", ["one", "two"], "policies", "an `audience`"), "did you mean `two`?");
        assert_eq!(defined("zzz", [], "policies", "an `audience`"), "add `[policies.zzz]` with an `audience`");
    }
}
