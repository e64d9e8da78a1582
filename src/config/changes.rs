//! What one configuration does otherwise than another, by name: what the log tells of a reload.
//!
//! No value is told, only what has another one. Routes and sessions are compared by what `check` says of them, so that a
//! policy that changed is seen at each of its routes; all else by everything the model says, the files that it names
//! included.

use std::collections::BTreeMap;
use std::fmt;

use super::model::Config;

/// The changes from one configuration to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes(Vec<String>);

/// How many names of a kind are told.
const TOLD: usize = 10;

impl Config {
    /// What this configuration does otherwise than the one `before`.
    pub fn changes_since(&self, before: &Self) -> Changes {
        let mut changes = Vec::new();
        let described = [before, self].map(|config| config.describe().routes.into_iter());
        let [was, is] = described.map(|routes| routes.map(|route| (route.name.clone(), route)).collect());
        compare("routes", &was, &is, &mut changes);
        let [was, is] = [before, self].map(|config| {
            let (signers, sources) = (&config.rules.issuers, &config.issuers);
            signers.iter().zip(sources).map(|both| (both.0.name.clone(), both)).collect()
        });
        compare("issuers", &was, &is, &mut changes);
        let [was, is] = [before, self]
            .map(|config| config.upstreams.iter().map(|upstream| (upstream.name.clone(), upstream)).collect());
        compare("upstreams", &was, &is, &mut changes);
        let [was, is] = [before, self].map(|config| {
            let lines = config.describe().sessions.into_iter().zip(&config.sessions);
            lines.map(|(line, own)| (own.name.clone(), (line, &own.client, &own.keys))).collect()
        });
        compare("sessions", &was, &is, &mut changes);
        if before.store != self.store {
            changes.push("[store] changed".to_owned());
        }
        if before.server != self.server {
            changes.push("[server] changed".to_owned());
        }
        if before.log != self.log {
            changes.push("[log] changed".to_owned());
        }
        Changes(changes)
    }
}

fn compare<T: PartialEq>(
    kind: &str,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    changes: &mut Vec<String>,
) {
    let among = |name: &String, others: &BTreeMap<String, T>| others.contains_key(name);
    let added = after.keys().filter(|name| !among(name, before)).collect();
    let removed = before.keys().filter(|name| !among(name, after)).collect();
    let other = |(name, is): &(&String, &T)| before.get(*name).is_some_and(|was| was != *is);
    let changed = after.iter().filter(other).map(|(name, _)| name).collect();
    for (what, names) in [("added", added), ("removed", removed), ("changed", changed)] {
        changes.extend(listed(&format!("{kind} {what}"), names));
    }
}

fn listed(what: &str, names: Vec<&String>) -> Option<String> {
    let first: Vec<&str> = names.iter().take(TOLD).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(TOLD);
    match (first.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{what}: {}", first.join(", "))),
        (false, more) => Some(format!("{what}: {} and {more} more", first.join(", "))),
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { f.write_str(&self.0.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bearward.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).unwrap_or_else(|report| panic!("{}", report.render(false))).config
    }

    const BASE: &str = r#"
[issuers.a]
issuer = "https://a.example.com"
[issuers.b]
issuer = "https://b.example.com"
[upstreams.api]
url = "http://127.0.0.1:3000"
[policies.p]
issuers = ["b"]
audience = ["x"]
[[routes]]
name = "one"
path = "/one"
upstream = "api"
policy = "p"
[[routes]]
name = "two"
path = "/two"
upstream = "api"
policy = "public"
"#;

    #[test]
    fn each_change_is_told_by_name() {
        let more = |text: &str| format!("{BASE}{text}");
        let route = |name: &str| {
            format!("[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"api\"\npolicy = \"public\"\n")
        };
        for (after, expected) in [
            (BASE.to_owned(), "none"),
            (more("# a comment"), "none"),
            (more(&route("three")), "routes added: three"),
            (BASE.replace("\"two\"", "\"other\""), "routes added: other; routes removed: two"),
            (BASE.replace("\"/two\"", "\"/other\""), "routes changed: two"),
            (BASE.replace("audience = [\"x\"]", "audience = [\"y\"]"), "routes changed: one"),
            (BASE.replace("[\"b\"]", "[\"a\"]"), "routes changed: one"),
            // The places of the issuers change, and nothing else.
            (
                BASE.replacen("[issuers.a]\nissuer = \"https://a.example.com\"\n", "", 1)
                    + "[issuers.a]\nissuer = \"https://a.example.com\"\n",
                "none",
            ),
            (BASE.replace("[issuers.a]", "[issuers.0]"), "issuers added: 0; issuers removed: a"),
            (BASE.replacen("com\"\n", "com\"\njwks = { cooldown = \"11s\" }\n", 1), "issuers changed: a"),
            (BASE.replacen("com\"\n", "com\"\nknown_clients = [\"web\"]\n", 1), "issuers changed: a"),
            (BASE.replacen("3000\"\n", "3000\"\nconnect_timeout = \"3s\"\n", 1), "upstreams changed: api"),
            (
                more("[server.limits]\nidle_timeout = \"1s\"\n[log]\nlevel = \"debug\"\n"),
                "[server] changed; [log] changed",
            ),
            (
                more(&(10..22).map(|number| route(&format!("r{number}"))).collect::<String>()),
                "routes added: r10, r11, r12, r13, r14, r15, r16, r17, r18, r19 and 2 more",
            ),
        ] {
            assert_eq!(config(&after).changes_since(&config(BASE)).to_string(), expected, "{after}");
        }
    }

    #[test]
    fn other_content_of_a_file_is_a_change_of_what_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let authority = || rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem();
        let text = BASE
            .replacen("com\"\n", "com\"\ntls = { ca = \"issuer.crt\" }\n", 1)
            .replace("http://127.0.0.1:3000\"", "https://api.example.com\"\ntls = { ca = \"upstream.crt\" }");
        write("bearward.toml", &text);
        let load = || Config::load(&directory.path().join("bearward.toml")).unwrap().config;
        write("issuer.crt", &authority());
        write("upstream.crt", &authority());
        let before = load();
        assert_eq!(load().changes_since(&before).to_string(), "none");
        write("issuer.crt", &authority());
        assert_eq!(load().changes_since(&before).to_string(), "issuers changed: a");
        write("upstream.crt", &authority());
        assert_eq!(load().changes_since(&before).to_string(), "issuers changed: a; upstreams changed: api");
    }
}
