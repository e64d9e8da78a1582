//! The configuration that `init` prints: short, with the reason beside each choice, and accepted by `check` as it is.

use std::fmt;

use super::clues::Suggestion;
use crate::policy::dialect::Dialect;
use crate::policy::jwt::Algorithm;

/// What was found out about an issuer.
pub(super) struct Found {
    /// Where its discovery document is.
    pub(super) document: String,
    /// Its name for itself.
    pub(super) issuer: String,
    /// The name that was asked for, where it is another.
    pub(super) asked: Option<String>,
    /// Which dialect its tokens may be of.
    pub(super) suggestion: Option<Suggestion>,
    /// What its keys are for.
    pub(super) algorithms: Vec<Algorithm>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# A configuration to start from, made of what is said at\n# {}", self.document)?;
        writeln!(f, "# Set what is marked CHANGE. Then: `bearward check --config FILE --online`.\n")?;
        writeln!(f, "[issuers.main]")?;
        self.name(f)?;
        self.dialect(f)?;
        let names: Vec<_> = self.algorithms.iter().map(|algorithm| quoted(algorithm.name())).collect();
        writeln!(f, "# What its keys are for.\nalgorithms = [{}]\n", names.join(", "))?;
        writeln!(f, "[[routes]]\n# This and everything beneath.\npath = \"/*\"")?;
        writeln!(f, "# CHANGE: where the API listens. Only Bearward should reach it there.")?;
        writeln!(f, "upstream = \"http://127.0.0.1:3000\"")?;
        let (comment, policy) = policy(self.dialect_name());
        writeln!(f, "# CHANGE: {comment}\npolicy = {{ {policy} }}")
    }
}

impl Found {
    fn dialect_name(&self) -> &'static str {
        self.suggestion.as_ref().map_or(Dialect::DEFAULT, |suggestion| suggestion.dialect)
    }

    fn name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(asked) = &self.asked {
            writeln!(
                f,
                "# As the document spells it, and not {}: the `iss` of a token is compared byte by byte.",
                quoted(asked)
            )?;
        }
        writeln!(f, "issuer = {}", quoted(&self.issuer))
    }

    fn dialect(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = Dialect::named(self.dialect_name()).map_or("", |dialect| dialect.about);
        match &self.suggestion {
            Some(suggestion) => writeln!(f, "# A guess, because {}. It believes:\n# {about}.", suggestion.because)?,
            None => writeln!(f, "# No product is known by these addresses. So {about}.")?,
        }
        writeln!(f, "# `bearward inspect TOKEN-FILE` tells which dialects take one of its access tokens.")?;
        writeln!(f, "dialect = {}", quoted(self.dialect_name()))?;
        if self.dialect_name() == "dex" {
            writeln!(
                f,
                "# Lets whoever has an ID token for a client of the audience call the API.\n# accept_id_tokens = true"
            )?;
        }
        Ok(())
    }
}

/// What a policy must name for tokens of a dialect: why, and how.
fn policy(dialect: &str) -> (&'static str, &'static str) {
    match dialect {
        "cognito" => (
            "the clients that may call. There is no `aud` in Cognito's access tokens.",
            r#"client_ids = ["CLIENT-ID"]"#,
        ),
        "kubernetes" => (
            "the audience the tokens are made for, and who may call: any workload gets one for any audience.",
            r#"audience = ["https://api.example.com"], claims = { "/kubernetes.io/namespace" = "default" }"#,
        ),
        "github-actions" => (
            "the audience the tokens are made for, and who may call: any repository gets one for any audience.",
            r#"audience = ["https://api.example.com"], claims = { repository = "OWNER/REPOSITORY" }"#,
        ),
        "forgerock" | "forgerock-express" | "genauth" | "authentik" | "dex" => (
            "what the issuer writes into `aud` for this API, usually the id of the client.",
            r#"audience = ["CLIENT-ID"]"#,
        ),
        _ => ("what the issuer writes into `aud` of tokens for this API.", r#"audience = ["https://api.example.com"]"#),
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::policy::dialect::DIALECTS;

    /// The configuration for a dialect, as it is loaded.
    fn loaded(dialect: &'static str) -> Config {
        let found = Found {
            document: "https://login.example.com/.well-known/openid-configuration".to_owned(),
            issuer: "https://login.example.com".to_owned(),
            asked: Some("https://login.example.com/".to_owned()),
            suggestion: Some(Suggestion { dialect, because: "this is a test" }),
            algorithms: vec![Algorithm::ES256, Algorithm::RS256],
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bearward.toml");
        std::fs::write(&file, found.to_string()).unwrap();
        Config::load(&file).unwrap_or_else(|report| panic!("{found}\n{}", report.render(false))).config
    }

    #[test]
    fn it_is_accepted_as_it_is_for_every_dialect() {
        for dialect in DIALECTS.iter() {
            let config = loaded(dialect.name);
            let [issuer] = config.rules.issuers.as_slice() else { panic!("one issuer") };
            assert_eq!(issuer.spellings, ["https://login.example.com"]);
            assert_eq!(issuer.recognition.name(), dialect.name);
            assert_eq!(issuer.algorithms, [Algorithm::ES256, Algorithm::RS256]);
            assert!(!issuer.accept_id_tokens, "nothing loud without a hand");
            assert_eq!(config.rules.routes.routes().len(), 1);
        }
    }
}
