//! Every option of the file: its key, type, default and meaning, once.
//!
//! From these declarations come the reader, the "did you mean" of a wrong key, and `config.example.toml`. An option that
//! is not here is refused as unknown: nothing in the file is ignored.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use url::Url;

use super::declare::{Entries, Opt, Rule, Value, options};
use super::fault::Faults;
use super::read::{
    At, AuthMethod, Authorization, ClaimRules, ClientCertificateMode, DialectName, EncodedSlash, ForwardedClaims,
    Hidden, HostField, LogFormat, LogLevel, Named, OneOrMany, Origin, PageOrigin, Parameters, PolicyChoice,
    PreflightRule, RefusalLog, Share, Text,
};
use super::store_address::StoreAddress;
use super::units::{Size, SizeLimit};
use super::upstream_address::Address;
use crate::policy::cookies::SameSite;
use crate::policy::dialect::Compare;
use crate::policy::jwt::Algorithm;
use crate::policy::pattern::{HostPattern, RoutePattern};
use crate::policy::permit::Mode;

options! {
    /// The whole file.
    struct File {
        /// what clients connect to
        server: Server = Section;
        /// metrics, probes, status; never on the public listener
        admin: Admin = Section;
        /// access lines on standard output, everything else on standard error
        log: Log = Section;
        /// traces
        telemetry: Telemetry = Section;
        /// who signs tokens
        issuers: Named<Issuer> = Named("main");
        /// the APIs behind us
        upstreams: Named<Upstream> = Named("orders");
        /// what a token must say
        policies: Named<Policy> = Named("read-orders");
        /// which requests get which policy and upstream
        routes: Vec<Route> = Each;
        /// browser logins, held by us
        sessions: Named<Session> = Named("web");
        /// sessions, refresh leases, replay marks
        store: Store = Section;
    }

    /// `[server]`
    struct Server {
        /// an address, or a list of them
        listen: OneOrMany<SocketAddr> = Default(r#""0.0.0.0:8080""#);
        /// several: chosen by SNI, the first is the fallback
        tls: OneOrMany<ServerCertificate> = Off(r#"[{ certificate = "tls.crt", private_key = "tls.key" }]"#);
        /// or "required"
        client_certificates: ClientCertificates = Off(r#"{ ca = "ca.crt", mode = "optional" }"#);
        /// whose Forwarded / X-Forwarded-* we believe; default: nobody's
        trusted_proxies: Vec<IpNet> = Off(r#"["10.0.0.0/8"]"#);
        /// PROXY v1/v2 before anything else, from trusted_proxies only
        proxy_protocol: bool = Default("false");
        /// 0: one per core
        workers: u32 = Default("0");
        /// after SIGTERM: unready first, then finish what is in flight
        drain: Drain = Inline;
        /// safe defaults, each
        limits: Limits = Section;
    }

    /// One of `server.tls`
    struct ServerCertificate {
        /// in PEM: the server's own, then those that lead to its root
        certificate: Text = Required(r#""tls.crt""#);
        /// in PEM; only the gateway may read it
        private_key: Text = Required(r#""tls.key""#);
    }

    /// `server.client_certificates`
    struct ClientCertificates {
        /// in PEM: the authorities whose certificates are taken
        ca: Text = Required(r#""ca.crt""#);
        /// "optional": a client may have none; a bad one is refused in either case
        mode: ClientCertificateMode = Required(r#""required""#);
    }

    /// `server.drain`
    struct Drain {
        /// how long new requests are still taken while we say that we are not ready
        delay: Duration = Default(r#""5s""#);
        /// how long what is in flight may take after that
        timeout: Duration = Default(r#""30s""#);
    }

    /// `[server.limits]`
    struct Limits {
        /// open connections of clients
        connections: u32 = Default("20000");
        /// of a request's head; at least 8KiB
        head_bytes: Size = Default(r#""32KiB""#);
        /// from the first byte of a request's head to its last, over HTTP/1; of a TLS handshake too
        header_timeout: Duration = Default(r#""10s""#);
        /// between requests
        idle_timeout: Duration = Default(r#""75s""#);
        /// of a request's body; per route too
        body_bytes: SizeLimit = Default(r#""none""#);
        /// of a token
        token_bytes: Size = Default(r#""16KiB""#);
    }

    /// `[admin]`
    struct Admin {
        /// an address; probes and metrics answer any Host
        listen: SocketAddr = Default(r#""127.0.0.1:9901""#);
    }

    /// `[log]`
    struct Log {
        /// or "text"
        format: LogFormat = Default(r#""json""#);
        /// error, warn, info, debug, trace
        level: LogLevel = Default(r#""info""#);
        /// the share of requests that get a line; refusals: "all" or "sample" (as the others)
        access: AccessLog = Inline;
    }

    /// `log.access`
    struct AccessLog {
        /// from 0.0 to 1.0
        sample: Share = Default("1.0");
        /// "all" or "sample"
        refused: RefusalLog = Default(r#""all""#);
    }

    /// `[telemetry]`
    struct Telemetry {
        /// the collector that gets spans, as OTLP over HTTP
        otlp: Url = Off(r#""http://collector:4318""#);
        /// the share of the traces begun here that is recorded; others as their caller says
        sample: Share = Default("0.01");
    }

    /// `[issuers.NAME]`
    struct Issuer {
        /// the exact `iss` of its tokens
        issuer: Text = Required(r#""https://login.example.com/""#);
        /// further exact spellings
        aliases: Vec<At<Text>> = Off(r#"["https://login.example.com"]"#);
        /// how its tokens look; only `typ: at+jwt` is an access token by the default
        dialect: DialectName = Default(r#""rfc9068""#);
        /// default: the asymmetric ones
        algorithms: Vec<At<Algorithm>> = Off(r#"["RS256", "ES256"]"#);
        /// between its clock and ours; at most 5m
        leeway: Duration = Default(r#""30s""#);
        /// Dex and the like: loud, needs an audience, still refuses refresh and logout tokens
        accept_id_tokens: bool = Default("false");
        /// a dialect of your own, instead of `dialect`
        discriminator: Discriminator = Off(r#"{ claim = "tokenName", access = ["access_token"] }"#);
        /// default: the dialect's
        scope_claim: Text = Off(r#""scope""#);
        /// OAuth client ids: never taken for an API's audience
        known_clients: Vec<Text> = Off(r#"["web", "batch"]"#);
        /// or { env = "NAME" }; HS256/384/512 for an issuer without public keys; `algorithms` must say so
        hmac_secret: Hidden = Off(r#"{ file = "hmac.key" }"#);
        /// default: from the issuer
        discovery_url: Url = Off(r#""https://login.example.com/.well-known/openid-configuration""#);
        /// instead of what discovery names
        endpoints: Endpoints = Off(r#"{ token = "https://login.example.com/token" }"#);
        /// plain http outside loopback, for what we fetch
        allow_http: bool = Default("false");
        /// for what we fetch from it: believe only the authorities of this PEM file
        tls: IssuerTls = Off(r#"{ ca = "ca.crt" }"#);
        /// whether we are unready until its keys were seen once
        required_for_ready: bool = Default("true");
        /// where its public keys come from; default: by discovery
        jwks: Jwks = Section;
        /// opaque tokens (RFC 7662): ask the issuer about them
        introspection: Introspection = OffSection;
    }

    /// `issuers.NAME.endpoints`
    struct Endpoints {
        /// where browsers are sent to log in
        authorization: Url = Off(r#""https://login.example.com/authorize""#);
        /// where codes and refresh tokens become access tokens
        token: Url = Off(r#""https://login.example.com/token""#);
        /// where browsers are sent to log out
        end_session: Url = Off(r#""https://login.example.com/logout""#);
        /// where refresh tokens are given back
        revocation: Url = Off(r#""https://login.example.com/revoke""#);
    }

    /// `issuers.NAME.tls`
    struct IssuerTls {
        /// certificates of the authorities to trust instead of the system's, in PEM
        ca: Text = Required(r#""ca.crt""#);
    }

    /// A secret that stands elsewhere.
    struct Secret {
        /// a file that not everybody may read; one final newline is not part of the secret
        file: Text = Off(r#""hmac.key""#);
        /// an environment variable
        env: Text = Off(r#""HMAC_KEY""#);
    }

    /// `issuers.NAME.discriminator`
    struct Discriminator {
        /// the claim that tells the kinds apart
        claim: Text = Off(r#""tokenName""#);
        /// or the header member
        header: Text = Off(r#""typ""#);
        /// its values in access tokens
        access: Vec<Text> = Off(r#"["access_token"]"#);
        /// its values in tokens of another kind
        deny: Vec<Text> = Off(r#"["id_token"]"#);
        /// or "prefix", "suffix", "contains"
        matching as "match": Compare = Default(r#""exact""#);
        /// claims that must be there; `|`: either
        require: Vec<Text> = Off(r#"["scope", "scp|roles"]"#);
        /// claims that must not be there
        forbid: Vec<Text> = Off(r#"["nonce"]"#);
    }

    /// `[issuers.NAME.jwks]`
    struct Jwks {
        /// a key set to fetch instead of discovery
        uri: Url = Off(r#""https://login.example.com/jwks""#);
        /// a key set in a file instead of discovery, read again at each refresh
        file: Text = Off(r#""keys.json""#);
        /// how often it is fetched
        refresh: Duration = Default(r#""5m""#);
        /// between two fetches for unknown keys
        cooldown: Duration = Default(r#""10s""#);
        /// how long the last good set is used while fetching fails
        max_stale: Duration = Default(r#""24h""#);
        /// a file of its own that keeps the public keys for the next start, should the issuer be down then
        snapshot: Text = Off(r#""main.jwks""#);
        /// a file with a token to show to the issuer, read at each fetch (a Kubernetes API server asks for one)
        bearer_file: Text = Off(r#""token""#);
    }

    /// `[issuers.NAME.introspection]`
    struct Introspection {
        /// default: by discovery
        endpoint: Url = Off(r#""https://login.example.com/introspect""#);
        /// the OAuth client that we ask as
        client_id: Text = Required(r#""gateway""#);
        /// or { env = "NAME" }; of that client
        client_secret: Hidden = Usual(r#"{ file = "introspection" }"#);
        /// or "client_secret_post", "private_key_jwt", "none"
        auth_method: AuthMethod = Default(r#""client_secret_basic""#);
        /// for private_key_jwt: a PEM file that not everybody may read
        private_key: Hidden = Off(r#"{ file = "client.pem" }"#);
        /// for private_key_jwt: what the issuer calls that key
        kid: Text = Off(r#""client-1""#);
        /// for private_key_jwt: what it signs with
        alg: Algorithm = Default(r#""RS256""#);
        /// of one call
        timeout: Duration = Default(r#""2s""#);
        /// calls at once; tokens beyond that are refused as overloaded
        max_concurrent: u32 = Default("32");
        /// how long an answer stands, at most to the token's end
        cache: Duration = Default(r#""30s""#);
        /// how long "not active" stands; at most 10s
        negative_cache: Duration = Default(r#""5s""#);
        /// an answer without `token_type` may be about an access token: only where refresh tokens are never active
        allow_untyped: bool = Default("false");
    }

    /// `[upstreams.NAME]`
    struct Upstream {
        /// where it listens: http, https, h2c (HTTP/2 without TLS; gRPC), or unix:/path
        url: Address = Required(r#""http://127.0.0.1:3000""#);
        /// to the response's head, and between parts of a response of declared length
        timeout: Duration = Default(r#""30s""#);
        /// to the connection, and in the queue for it
        connect_timeout: Duration = Default(r#""2s""#);
        /// or 0; of requests without effects, where a kept connection died before any answer; within a budget
        retries: u32 = Default("1");
        /// requests at once, further ones wait, then: overloaded; default: connections of [server.limits]
        max_concurrent: u32 = Off("1000");
        /// of an https upstream: whom to trust instead of the system's authorities, what to show, who it must prove to be
        tls: UpstreamTls = Off(r#"{ ca = "ca.crt", certificate = "tls.crt", private_key = "tls.key", name = "orders.internal" }"#);
        /// the client's Host, or "upstream": its own
        host: HostField = Default(r#""preserve""#);
        /// or "remove"
        authorization: Authorization = Default(r#""keep""#);
        /// header = claim; every spelling of them from a client is removed
        identity_headers: ForwardedClaims = Off(r#"{ x-user = "sub", x-scope = "scope" }"#);
    }

    /// `upstreams.NAME.tls`
    struct UpstreamTls {
        /// in PEM: the authorities to trust instead of the system's
        ca: Text = Off(r#""ca.crt""#);
        /// in PEM: ours, shown where the upstream asks for one, then those that lead to its root
        certificate: Text = Off(r#""tls.crt""#);
        /// in PEM; only the gateway may read it
        private_key: Text = Off(r#""tls.key""#);
        /// who it must prove to be, and is told so (SNI); default: the host of `url`
        name: Text = Off(r#""orders.internal""#);
    }

    /// `[policies.NAME]`, or the inline table of a route
    struct Policy {
        /// default: the only one there is
        issuers: Vec<At<Text>> = Off(r#"["main"]"#);
        /// any of; required, unless client_ids stands in for it
        audience: Vec<At<Text>> = Usual(r#"["https://api.example.com"]"#);
        /// all of
        scopes: Vec<At<Text>> = Off(r#"["read:orders"]"#);
        /// one of
        any_scope: Vec<At<Text>> = Off(r#"["read:orders", "admin"]"#);
        /// equal, or one of; a name that begins with / is a JSON Pointer
        claims: ClaimRules = Off(r#"{ tenant = "acme", roles = ["ops", "admin"], "/kubernetes.io/namespace" = "shop" }"#);
        /// allowed client_id / azp / cid / appid
        client_ids: Vec<Text> = Off(r#"["web", "batch"]"#);
        /// whether no credential at all is let through (a bad one never is)
        anonymous: bool = Default("false");
        /// or "shadow": a refusal by this policy is let through, counted and logged
        mode: Mode = Default(r#""enforce""#);
    }

    /// `[[routes]]`
    struct Route {
        /// the metric label; default made from host and path
        name: Text = Off(r#""orders""#);
        /// default: every host
        hosts: Vec<At<HostPattern>> = Off(r#"["api.example.com", "*.example.com"]"#);
        /// exact; `{id}` is one segment; `/*` at the end: this and everything under it
        path: RoutePattern = Required(r#""/orders/*""#);
        /// default: all
        methods: Vec<At<Method>> = Off(r#"["GET", "HEAD"]"#);
        /// a name, several names (any of them), an inline table, or "public"
        policy: PolicyChoice = Required(r#""read-orders""#) or r#"{ audience = ["https://api.example.com"] }"#;
        /// a name or a URL
        upstream: Text = Required(r#""orders""#) or r#""http://127.0.0.1:3000""#;
        /// a browser's session cookie is a credential here, beside Bearer
        session: Text = Usual(r#""web""#);
        /// literal segments at the path's beginning that the upstream does not get
        strip_prefix: Text = Off(r#""/orders""#);
        /// we answer preflights, and our refusals can be read cross-origin
        cors: Cors = Off(r#"{ origins = ["https://app.example.com"], credentials = false, expose_headers = ["link"], max_age = "10m" }"#);
        /// or "forward": real preflights go to an API that answers them itself
        preflight: PreflightRule = Default(r#""refuse""#);
        /// or "keep", where no narrower route lies beneath
        encoded_slash: EncodedSlash = Default(r#""refuse""#);
        /// default: that of [server.limits]
        body_bytes: SizeLimit = Off(r#""10MiB""#);
    }

    /// `cors` of a route
    struct Cors {
        /// whose pages may read, as browsers write it; or "*" alone
        origins: Vec<At<Origin>> = Required(r#"["https://app.example.com"]"#);
        /// whether requests may bear cookies; not with "*"
        credentials: bool = Default("false");
        /// fields of the upstream's answers that scripts may read
        expose_headers: Vec<At<HeaderName>> = Off(r#"["link"]"#);
        /// how long a browser may keep the answer to a preflight
        max_age: Duration = Default(r#""10m""#);
    }

    /// `[sessions.NAME]`
    struct Session {
        /// who logs browsers in
        issuer: Text = Required(r#""main""#);
        /// where browsers see us: redirect URI, CSRF rule, cookies; http only on loopback
        origin: PageOrigin = Required(r#""https://app.example.com""#);
        /// the OAuth client that browsers log in to; its redirect URI: origin, path and "/callback"
        client_id: Text = Required(r#""web""#);
        /// or { env = "NAME" }; of that client
        client_secret: Hidden = Usual(r#"{ file = "client_secret" }"#);
        /// or "client_secret_post" (default for dialect "forgerock"), "private_key_jwt", "none"
        auth_method: AuthMethod = Default(r#""client_secret_basic""#);
        /// for private_key_jwt: a PEM file that not everybody may read
        private_key: Hidden = Off(r#"{ file = "client.pem" }"#);
        /// for private_key_jwt: what the issuer calls that key
        kid: Text = Off(r#""client-1""#);
        /// for private_key_jwt: what it signs with
        alg: Algorithm = Default(r#""RS256""#);
        /// of the token endpoint
        timeout: Duration = Default(r#""5s""#);
        /// what ID tokens may be signed with; HS256 here means: keyed with the client secret
        id_token_algorithms: Vec<At<Algorithm>> = Default(r#"["RS256"]"#);
        /// what is asked for
        scopes: Vec<At<Text>> = Required(r#"["openid", "offline_access", "read:orders"]"#);
        /// of the authorization request, beside ours
        parameters: Parameters = Off(r#"{ audience = "https://api.example.com" }"#);
        /// where login, callback, logout are; nothing else is beneath it
        path: RoutePattern = Default(r#""/auth""#);
        /// what /auth/session tells, of the ID token
        claims: Vec<At<Text>> = Off(r#"["name", "email"]"#);
        /// and `keys = [{ file = "..." }]`: 32 bytes in base64 each, newest first: all open, the first seals
        cookie: Cookie = Inline;
        /// before the access token expires; at most half its life
        refresh_before: Duration = Default(r#""60s""#);
        /// without a request; where it is not written, no longer than `lifetime`
        idle_timeout: Duration = Default(r#""12h""#);
        /// from login, whatever is requested
        lifetime: Duration = Default(r#""7d""#);
    }

    /// `sessions.NAME.cookie`
    struct Cookie {
        /// begins with `__Host-`, so that no other host can set it
        name: Text = Default(r#""__Host-session""#);
        /// or "none", for pages within pages of other sites
        same_site: SameSite = Default(r#""lax""#);
        /// 32 bytes in base64 each, newest first; default: made at each start
        keys: Vec<At<Hidden>> = Off(r#"[{ file = "cookie.key" }]"#);
    }

    /// `[store]`
    struct Store {
        /// "file:state.db" survives restarts; "redis://host:6379", "rediss://", for replicas. Both need cookie keys
        url: StoreAddress = Default(r#""memory:""#);
        /// for redis: an ACL user
        username: Text = Off(r#""bearward""#);
        /// for redis, or { env = "NAME" }
        password: Hidden = Off(r#"{ file = "password" }"#);
    }
}
