//! An embedded issuer, a sample API and a tour of every outcome.
//!
//! [`Demo`] is one process with issuer, API and gateway on free ports of the loopback address: the gateway is the real
//! one, started from a real file, and reaches the other two over sockets. Configuration, tokens and the client's secret lie
//! in a directory that only its owner can read, so that `explain` can be tried on them; it goes when the demo ends.

pub mod api;
pub mod check;
pub mod configuration;
pub mod directory;
pub mod issuer;
mod loopback;
mod page;
pub mod provider;
pub mod signer;
mod telling;
pub mod tour;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use self::api::Api;
use self::check::{Finding, Parties};
use self::configuration::{Addresses, configuration};
use self::directory::Directory;
use self::issuer::{Issuer, IssuerFault};
use self::provider::Provider;
use self::signer::SignFault;
use self::tour::Tour;
use crate::config::Config;
use crate::gateway::request_body::Pace;
use crate::remote::clock::{Clock, Hands};
use crate::server::assembly::{ServeFault, Served, metrics};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Dropped;

/// A demo that runs.
pub struct Demo {
    provider: &'static Provider,
    issuer: Issuer,
    api: Api,
    gateway: Served,
    address: SocketAddr,
    tour: Tour,
    directory: Directory,
    file: PathBuf,
    /// When its tokens were made, in seconds since 1970.
    begun: u64,
}

/// The demo could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DemoFault {
    /// There is no such provider here.
    #[error("the demo has no dialect {0:?}; it has {1}")]
    Dialect(String, String),
    /// What is compiled in cannot be read: a defect of ours.
    #[error("the demo's samples cannot be read: {0}")]
    Samples(&'static serde_json::Error),
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerFault),
    /// A token.
    #[error("a token of the demo cannot be made: {0}")]
    Token(#[from] SignFault),
    /// The gateway.
    #[error("the demo's gateway cannot be started: {0}")]
    Gateway(#[from] ServeFault),
    /// A socket or a file.
    #[error("the demo cannot have its sockets and files: {0}")]
    System(#[from] io::Error),
    /// The demo's own configuration: a defect of ours.
    #[error("the demo's configuration is refused:\n{0}")]
    Configuration(String),
}

/// The providers whose tokens the demo can show.
///
/// # Errors
///
/// A defect of ours.
pub fn providers() -> Result<&'static [Provider], DemoFault> {
    Provider::all().map_err(DemoFault::Samples)
}

/// The provider of that dialect.
///
/// # Errors
///
/// The demo has none; the fault names those it has.
pub fn provider(dialect: &str) -> Result<&'static Provider, DemoFault> {
    let providers = providers()?;
    providers.iter().find(|provider| provider.dialect == dialect).ok_or_else(|| {
        let names: Vec<&str> = providers.iter().map(|provider| &*provider.dialect).collect();
        DemoFault::Dialect(dialect.to_owned(), names.join(", "))
    })
}

impl Demo {
    /// Starts all parts.
    ///
    /// # Errors
    ///
    /// A part cannot be started; those before it end.
    pub async fn start(provider: &'static Provider, clock: Clock) -> Result<Self, DemoFault> {
        let issuer = Issuer::start(provider, clock.clone()).await?;
        let (api, directory) = (Api::start().await?, Directory::new()?);
        let begun = issuer.now();
        let tour = Tour::new(provider, &issuer)?;
        for file in &tour.files {
            directory.write(&file.name, &file.text)?;
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let free = Addresses { gateway: any, admin: any, api: api.address() };
        let file = directory.write("bearward.toml", &configuration(provider, issuer.name(), &free))?;
        let loaded = Config::load(&file).map_err(|report| DemoFault::Configuration(report.render(false)))?;
        let metrics = metrics(&loaded.config).map_err(ServeFault::from)?;
        let telemetry = Telemetry { metrics, access: None, log: None };
        let control = tokio::runtime::Handle::current();
        let gateway = Served::start(loaded.config, telemetry, clock, Pace::default(), &control)?;
        let address = gateway.addresses().first().copied().unwrap_or(any);
        // From here on the file tells the ports that were free, and browsers are sent back to them.
        let taken = Addresses { gateway: address, admin: gateway.admin_address(), api: api.address() };
        let file = directory.write("bearward.toml", &configuration(provider, issuer.name(), &taken))?;
        let loaded = Config::load(&file).map_err(|report| DemoFault::Configuration(report.render(false)))?;
        for site in &loaded.config.rules.sites {
            let addresses = [site.redirect_uri(), format!("{}/", site.origin)];
            addresses
                .iter()
                .filter_map(|address| Url::parse(address).ok())
                .for_each(|uri| issuer.register_redirect_uri(uri));
        }
        gateway.adopt(loaded.config).map_err(ServeFault::from)?;

        Ok(Self { provider, issuer, api, gateway, address, tour, directory, file, begun })
    }

    /// Takes the tour, and compares what comes back; `hands` move the clock that the demo was started with.
    pub async fn check(&self, hands: &Hands) -> Vec<Finding> {
        let Self { provider, issuer, address, api, .. } = self;
        let parties = Parties { provider, issuer, gateway: *address, api, hands };
        check::check(&self.tour, &parties).await
    }

    /// Where the gateway is, for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the gateway's metrics and probes are.
    pub fn admin_address(&self) -> SocketAddr {
        self.gateway.admin_address()
    }

    /// The count of log lines that this demo's gateway could not write.
    pub fn log_lines_dropped(&self) -> Dropped {
        self.gateway.shared().telemetry().metrics.log_lines_dropped()
    }

    /// Ends all parts, and removes the files.
    pub async fn stop(self) {
        // Stopping waits for threads, which a task must not. It only fails where it panicked, and all ends anyway.
        let _ = tokio::task::spawn_blocking(move || self.gateway.stop()).await;
        self.api.stop().await;
        self.issuer.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn every_provider_passes_its_tour() {
        for provider in providers().unwrap() {
            let (clock, hands) = Clock::manual(SystemTime::now());
            let demo = Demo::start(provider, clock).await.unwrap();
            let findings = demo.check(&hands).await;
            assert_eq!(findings.len(), demo.tour.stops.len());
            for finding in findings {
                assert!(finding.faults.is_empty(), "{}: {finding:?}", provider.dialect);
            }
            demo.stop().await;
        }
    }

    #[tokio::test]
    async fn a_refusal_does_not_count_where_the_good_token_is_refused() {
        let (clock, hands) = Clock::manual(SystemTime::now());
        let mut demo = Demo::start(provider("rfc9068").unwrap(), clock).await.unwrap();
        let forged = demo.tour.text("forged-token").unwrap().to_owned();
        demo.tour.files.iter_mut().find(|file| file.name == "access-token").unwrap().text = forged;
        let findings = demo.check(&hands).await;
        assert!(findings.iter().all(|finding| !finding.faults.is_empty()), "{findings:?}");
        assert_eq!(findings[1].faults, ["not counted: the good access token did not pass"]);
    }

    #[test]
    fn a_dialect_that_is_not_here_is_told_with_those_that_are() {
        let fault = provider("okta").map(|_| ()).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "the demo has no dialect \"okta\"; it has rfc9068, forgerock, forgerock-express, genauth, auth0, keycloak"
        );
    }
}
