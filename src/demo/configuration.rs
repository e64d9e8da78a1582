//! The demo's configuration file, written as an operator would write it.

use std::net::SocketAddr;

use super::api::IDENTITY_HEADERS;
use super::provider::Provider;
use super::tour::REPORTS_SCOPE;

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
    let Provider { dialect, about, audience, clients, scope, .. } = provider;
    let Addresses { gateway, admin, api } = addresses;
    let [user, scopes] = IDENTITY_HEADERS;
    // Names and addresses of the demo are plain ASCII, of which Rust and TOML write strings alike.
    format!(
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
policy = {{ audience = {audience:?}, scopes = [{scope:?}] }}

[[routes]]
name = \"reports\"
path = \"/reports/*\"
upstream = \"api\"
policy = {{ audience = {audience:?}, scopes = [{REPORTS_SCOPE:?}] }}
"
    )
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
        for provider in Provider::all().unwrap() {
            let issuer = format!("http://127.0.0.1:4000{}", provider.issuer_path);
            let file = directory.write("bearward.toml", &configuration(provider, &issuer, &addresses)).unwrap();
            let loaded = Config::load(&file).unwrap_or_else(|report| panic!("{}", report.render(false)));
            assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings.render(false));
            assert_eq!(loaded.config.rules.routes.routes().len(), 2);
        }
    }
}
