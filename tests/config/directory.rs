//! The files that the configurations beside this one name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A public key (RFC 7517 appendix A.1).
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}]}"#;

/// A directory with the files that the configurations name, which is where they are checked.
pub(crate) fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32, bytes: &str| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("keys.json", 0o644, KEYS);
    file("no-keys.json", 0o644, r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"old"}]}"#);
    let mixed = KEYS.replace("{\"keys\":[", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"old"},"#);
    file("mixed-keys.json", 0o644, &mixed);
    file("page.json", 0o644, "<html></html>");
    file("ca.crt", 0o644, &authority());
    let names = ["shop.example.com", "*.shop.example.com", "192.0.2.7", "2001:db8::7"];
    for (name, hosts, from, until) in [
        ("tls", &names[..], 2020, 3000),
        ("second", &["second.example.com"], 2020, 3000),
        ("past", &names[..1], 2019, 2020),
        ("future", &names[..1], 2999, 3000),
        ("nameless", &[], 2020, 3000),
    ] {
        let (certificate, key) = certificate(hosts, from, until);
        file(&format!("{name}.crt"), 0o644, &certificate);
        file(&format!("{name}.key"), 0o440, &key);
    }
    let (certificate, key) = certificate(&["open.example.com"], 2020, 3000);
    file("open-tls.crt", 0o644, &certificate);
    file("open-tls.key", 0o644, &key);
    file("not.key", 0o440, &certificate);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    file("encrypted.key", 0o440, encrypted);
    file("no.crt", 0o644, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    file("half.crt", 0o644, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    file("other.crt", 0o644, &(authority() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    file("token", 0o644, "a.token\n");
    file("hmac.key", 0o440, &("k".repeat(64) + "\n"));
    file("introspection", 0o440, "secret\n");
    file("client_secret", 0o440, &("s".repeat(40) + "\n"));
    file("cookie.key", 0o440, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    file("old-cookie.key", 0o440, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=");
    file("password", 0o440, "secret\n");
    file("short.key", 0o440, &("k".repeat(31) + "\n"));
    file("empty.key", 0o440, "\n");
    file("open.key", 0o644, &"k".repeat(64));
    directory
}

/// The certificate of an authority, in PEM.
fn authority() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// A certificate for these hosts and its private key, in PEM; valid from the first day of one year to that of another.
fn certificate(hosts: &[&str], from: i32, until: i32) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(hosts).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
