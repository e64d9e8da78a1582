//! A TLS client that asks for exactly what a test says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::Issued;
use super::client::{Client, Http2};

/// How to connect. Clones keep their tickets apart only where they are changed.
#[derive(Clone)]
pub struct Tls {
    trust: Trust,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    identity: Option<(CertificateDer<'static>, Arc<rustls::pki_types::PrivateKeyDer<'static>>)>,
    named: bool,
}

#[derive(Clone)]
enum Trust {
    Roots(Arc<RootCertStore>),
    /// Whatever certificate, where it is proved by one of these signatures.
    Anybody(Vec<SignatureScheme>),
}

/// A client's settings with its memory of sessions.
pub struct Connector(TlsConnector);

impl Tls {
    /// Both versions, no ALPN, no certificate of its own, the server's must lead to one of these roots.
    pub fn trusting(roots: Arc<RootCertStore>) -> Self {
        let versions = vec![&version::TLS13, &version::TLS12];
        Self { trust: Trust::Roots(roots), versions, alpn: Vec::new(), identity: None, named: true }
    }

    /// The same, but any certificate is taken that can sign in one of these ways.
    pub fn believing_anybody(schemes: &[SignatureScheme]) -> Self {
        Self { trust: Trust::Anybody(schemes.to_vec()), ..Self::trusting(Arc::new(RootCertStore::empty())) }
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// It shows this certificate where it is asked for one.
    pub fn showing(mut self, issued: &Issued) -> Self {
        let (certificate, key) = issued.pair();
        self.identity = Some((certificate, Arc::new(key)));
        self
    }

    /// It names no host.
    pub fn nameless(mut self) -> Self {
        self.named = false;
        self
    }

    pub fn connector(&self) -> Connector {
        Connector(TlsConnector::from(self.config()))
    }

    /// All of it, as rustls takes it.
    pub fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&self.versions).unwrap();
        let builder = match &self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            Trust::Anybody(schemes) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody { schemes: schemes.clone(), provider })),
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_sni = self.named;
        Arc::new(config)
    }

    pub async fn connect(&self, address: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
        self.connector().connect(address, host).await
    }
}

impl Connector {
    pub async fn connect(&self, address: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.over(stream, host).await
    }

    /// Shakes hands over a connection that there is.
    pub async fn over<S>(&self, stream: S, host: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await
    }

    /// A client of HTTP/1.
    pub async fn client(&self, address: SocketAddr, host: &str) -> Client {
        Client::over(self.connect(address, host).await.unwrap())
    }

    /// A client of HTTP/2.
    pub async fn http2(&self, address: SocketAddr, host: &str) -> Http2 {
        Http2::over(self.connect(address, host).await.unwrap()).await
    }
}

/// The version, the protocol by ALPN, and whether the handshake was a full one.
pub fn settled(stream: &TlsStream<TcpStream>) -> (ProtocolVersion, Option<String>, HandshakeKind) {
    let connection = stream.get_ref().1;
    let alpn = connection.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
    (connection.protocol_version().unwrap(), alpn, connection.handshake_kind().unwrap())
}

/// The certificate that the server showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Believes whoever can sign for the certificate it shows.
#[derive(Debug)]
struct Anybody {
    schemes: Vec<SignatureScheme>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
