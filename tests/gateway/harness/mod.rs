//! Builders for the world around the gateway: an issuer, an upstream, a client, the gateway itself.
