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
    file("no.crt", 0o644, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    file("half.crt", 0o644, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    file("other.crt", 0o644, &(authority() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    file("token", 0o644, "a.token\n");
    file("hmac.key", 0o440, &("k".repeat(64) + "\n"));
    file("introspection", 0o440, "secret\n");
    file("short.key", 0o440, &("k".repeat(31) + "\n"));
    file("open.key", 0o644, &"k".repeat(64));
    directory
}

/// The certificate of an authority, in PEM.
fn authority() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}
