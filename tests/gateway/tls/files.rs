//! Certificates whose files change while the gateway serves by them, and how long they last.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::remote::clock::{Clock, Hands};
use bearward::server::drain::Hangups;
use bearward::server::reload::LOOK_EVERY;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{HOST, toml};
use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::Client;
use crate::harness::gateway::Served;
use crate::harness::log;
use crate::harness::tls::{Connector, Tls, shown};
use crate::harness::upstream::Upstream;

const GOOD: &str = "bearward_config_reloads_total{result=\"success\"}";
const BAD: &str = "bearward_config_reloads_total{result=\"failure\"}";

/// A gateway that runs by a file and looks at it when we say.
struct World {
    _directory: TempDir,
    _upstream: Upstream,
    gateway: Arc<Served>,
    connector: Connector,
    hands: Hands,
    reloading: JoinHandle<()>,
}

impl World {
    async fn showing(authority: &Authority, certificates: &[&Issued]) -> Self {
        let (directory, upstream) = (TempDir::new().unwrap(), Upstream::start().await);
        let file = directory.path().join("bearward.toml");
        let free = "listen = \"127.0.0.1:0\"\nworkers = 1";
        let sections = "[admin]\nlisten = \"127.0.0.1:0\"";
        fs::write(&file, toml(&upstream, certificates, free, sections)).unwrap();
        let (clock, hands) = Clock::manual(SystemTime::now());
        let (gateway, mut reloads) = Served::of_file(&file, clock);
        let gateway = Arc::new(gateway);
        let served = Arc::clone(&gateway);
        let reloading =
            tokio::spawn(async move { match reloads.run(served.server(), &mut Hangups::listen().unwrap()).await {} });
        let connector = Tls::trusting(authority.roots()).connector();
        Self { _directory: directory, _upstream: upstream, gateway, connector, hands, reloading }
    }

    /// The certificate that a new client is shown.
    async fn shown(&self) -> CertificateDer<'static> {
        shown(&self.connector.connect(self.gateway.address(), HOST).await.unwrap())
    }

    /// Lets looks pass until a sample has this value.
    async fn until(&self, series: &str, value: f64) {
        let seen = async {
            while self.gateway.sample(series) != Some(value) {
                self.hands.advance(LOOK_EVERY);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), seen).await;
        assert!(seen.is_ok(), "{series} is {:?}, not {value}", self.gateway.sample(series));
    }

    fn expiry(&self, issued: &Issued) -> Option<f64> {
        let name = issued.file().display();
        self.gateway.sample(&format!("bearward_certificate_expiry_timestamp_seconds{{name=\"{name}\"}}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.reloading.abort();
    }
}

#[tokio::test]
async fn a_pair_is_exchanged_once_both_files_belong_together() {
    let authority = Authority::new();
    let usual = authority.issue("usual", &[HOST]);
    let renewed = authority.issue("renewed", &[HOST]);
    let world = World::showing(&authority, &[&usual]).await;
    let mut before = Client::over(world.connector.connect(world.gateway.address(), HOST).await.unwrap());
    assert_eq!(before.get("/").await.status, 200);

    renewed.write_certificate_as(&usual);
    world.until(BAD, 1.0).await;
    assert_eq!(world.shown().await, *usual.der(), "half a pair changes nothing");
    renewed.write_key_as(&usual);
    world.until(GOOD, 1.0).await;
    assert_eq!(world.shown().await, *renewed.der());

    // What cannot be used is as if it had not been written.
    fs::write(usual.file(), "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    world.until(BAD, 2.0).await;
    assert_eq!(world.shown().await, *renewed.der());
    fs::remove_file(usual.file()).unwrap();
    world.until(BAD, 3.0).await;
    assert_eq!(world.shown().await, *renewed.der());
    usual.write_as(&usual);
    world.until(GOOD, 2.0).await;
    assert_eq!(world.shown().await, *usual.der());

    assert_eq!(before.get("/").await.status, 200, "who was there from the beginning is there still");
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that expires so many days and a half from now.
fn lasting(authority: &Authority, name: &str, days: u32) -> Issued {
    authority.issue_with(name, &[HOST], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = (SystemTime::now() + DAY * days + DAY / 2).into();
    })
}

#[tokio::test]
async fn it_is_told_how_long_certificates_last() {
    log::keep();
    let authority = Authority::new();
    let long = lasting(&authority, "long", 15);
    let short = lasting(&authority, "short", 13);
    let expired = authority.issue_with("expired", &[HOST], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let world = World::showing(&authority, &[&long, &short, &expired]).await;
    assert_eq!(world.expiry(&expired), Some(1_577_836_800.0));
    let in_13_days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + DAY * 13 + DAY / 2;
    assert!((world.expiry(&short).unwrap() - in_13_days.as_secs_f64()).abs() < 60.0);

    let said = |issued: &Issued| {
        let lines = log::lines_with(&issued.file().display().to_string());
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        (
            count("WARN bearward::server::expiry: a certificate expires soon"),
            count("ERROR bearward::server::expiry: a certificate has expired"),
        )
    };
    assert_eq!([said(&long), said(&short), said(&expired)], [(0, 0), (1, 0), (0, 1)], "at the start");
    // The first comes within two weeks on the second day, the second is over on the fourteenth.
    for day in 1..=14_usize {
        world.hands.advance(DAY);
        let told = async {
            while said(&expired).1 < 1 + day {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is told each day");
    }
    assert_eq!([said(&long), said(&short), said(&expired)], [(13, 0), (14, 1), (0, 15)]);

    // A renewed one is told of no more, and its time is the new one.
    lasting(&authority, "renewed", 300).write_as(&short);
    world.until(GOOD, 1.0).await;
    let in_300_days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + DAY * 300 + DAY / 2;
    assert!((world.expiry(&short).unwrap() - in_300_days.as_secs_f64()).abs() < 60.0);
    let before = (said(&short), said(&expired));
    world.hands.advance(DAY);
    let told = async {
        while said(&expired) == before.1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("of the others it is told");
    assert_eq!(said(&short), before.0);
}
