//! What a certificate says of itself: when it is valid, and for which hosts (RFC 5280 section 4).
//!
//! Nothing here proves anything: the authority's signature is looked at by who connects.

use std::net::IpAddr;
use std::time::SystemTime;

use jiff::Timestamp;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Before this it is not valid.
    pub not_before: SystemTime,
    /// After this it is not valid.
    pub not_after: SystemTime,
    /// DNS names in lower case, where `*.` stands for one label, and IP addresses.
    pub hosts: Vec<String>,
}

impl Facts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// What cannot be understood of it.
    pub fn of(certificate: &[u8]) -> Result<Self, String> {
        let parsed = x509_cert::Certificate::from_der(certificate).map_err(|why| why.to_string())?;
        let parsed = parsed.tbs_certificate();
        let names = parsed.get_extension::<SubjectAltName>().map_err(|why| why.to_string())?;
        Ok(Self {
            not_before: parsed.validity().not_before.to_system_time(),
            not_after: parsed.validity().not_after.to_system_time(),
            hosts: names.map(|(_, names)| names.0.iter().filter_map(host).collect()).unwrap_or_default(),
        })
    }
}

/// A name of a `subjectAltName` that is a host's (RFC 5280 section 4.2.1.6).
fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
}

/// A moment as people and machines write it (RFC 3339).
pub fn moment(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| "the end of time".to_owned(), |at| at.to_string())
}
