//! The demo's configuration file, written as an operator would write it.

use std::net::SocketAddr;

use super::api::IDENTITY_HEADERS;
use super::page;
use super::provider::Provider;
use super::tour::{ME, REPORTS_SCOPE, SECRET};

/// Where the parts of the demo listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The gateway, for clients.
    pub gateway: SocketAddr,
    /// The gateway's admin listener.
    pub admin: SocketAddr,
    /// The sample API.
    pub api: SocketAddr,
}

/// The file for this provider and its issuer of that name.
pub fn configuration(provider: &Provider, issuer: &str, addresses: &Addresses) -> String {
    let Provider { dialect, about, audience, clients, scope, opaque_scope, client_authentication, .. } = provider;
    let Addresses { gateway, admin, api } = addresses;
    let [user, scopes] = IDENTITY_HEADERS;
    // Names and addresses of the demo are plain ASCII, of which Rust and TOML write strings alike.
    let mut text = format!(
        "# The configuration of `bearward demo`: {about}.

[server]
listen = \"{gateway}\"

[admin]
listen = \"{admin}\"

[issuers.demo]
issuer = {issuer:?}
dialect = {dialect:?}
known_clients = {clients:?}

[upstreams.api]
url = \"http://{api}\"
identity_headers = {{ {user} = \"sub\", {scopes} = \"scope\" }}

[[routes]]
name = \"orders\"
path = \"/orders/*\"
upstream = \"api\"
session = \"page\"
policy = {{ audience = {audience:?}, scopes = [{scope:?}] }}

[[routes]]
name = \"reports\"
path = \"/reports/*\"
upstream = \"api\"
policy = {{ audience = {audience:?}, scopes = [{REPORTS_SCOPE:?}] }}
"
    );
    text += &pages();
    text += &session(provider, gateway);
    if let Some(scope) = opaque_scope {
        // As nobody says what API an opaque token is for, its client is asked for instead.
        let method = client_authentication.first().map(String::as_str).unwrap_or_default();
        text += &format!(
            "
[issuers.demo.introspection]
client_id = {:?}
client_secret = {{ file = {SECRET:?} }}
auth_method = {method:?}

[[routes]]
name = \"me\"
path = {ME:?}
upstream = \"api\"
policy = {{ client_ids = {clients:?}, scopes = [{scope:?}] }}
",
            provider.client()
        );
    }
    text
}

/// The routes of the page, which everybody may see.
fn pages() -> String {
    let route = |path| format!("\n[[routes]]\npath = {path:?}\nupstream = \"api\"\npolicy = \"public\"\n");
    page::paths().map(route).collect()
}

/// How browsers log in.
fn session(provider: &Provider, gateway: &SocketAddr) -> String {
    let Provider { client_authentication, scopes, audience, audience_parameter, id, .. } = provider;
    let method = client_authentication.first().map(String::as_str).unwrap_or_default();
    let algorithm = id.algorithm().unwrap_or("RS256");
    let mut text = format!(
        "
[sessions.page]
issuer = \"demo\"
origin = \"http://{gateway}\"
client_id = {:?}
client_secret = {{ file = {SECRET:?} }}
auth_method = {method:?}
id_token_algorithms = [{algorithm:?}]
scopes = {scopes:?}
claims = [\"name\", \"email\"]
",
        provider.client()
    );
    if let (Some(parameter), Some(audience)) = (audience_parameter, audience.first()) {
        text += &format!("parameters = {{ {parameter} = {audience:?} }}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::demo::directory::Directory;

    #[test]
    fn the_configuration_of_every_provider_is_good_and_warns_of_nothing() {
        let directory = Directory::new().unwrap();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { gateway: at(0), admin: at(0), api: at(3000) };
        directory.write(SECRET, &"a secret".repeat(4)).unwrap();
        for provider in Provider::all().unwrap() {
            let issuer = format!("http://127.0.0.1:4000{}", provider.issuer_path);
            let file = directory.write("bearward.toml", &configuration(provider, &issuer, &addresses)).unwrap();
            let loaded = Config::load(&file).unwrap_or_else(|report| panic!("{}", report.render(false)));
            assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings.render(false));
            let routes = page::paths().count() + if provider.opaque_scope.is_some() { 3 } else { 2 };
            assert_eq!(loaded.config.rules.routes.routes().len(), routes);
        }
    }
}
