//! Everything that decides, as pure functions over values: no async, no clock, no sockets, no randomness, no log.

use self::claims::Claims;
use self::issuer::{Issuer, IssuerId};
use self::policies::Policies;
use self::reject::{Quoted, Reject};
use self::request::RequestView;
use self::route::RouteTable;
use self::site::{Site, SiteId};

pub mod browser;
pub mod claims;
pub mod cookies;
pub mod cors;
pub mod credential;
pub mod decision;
pub mod dialect;
pub mod forwarded;
pub mod grant;
pub mod headers;
pub mod id_token;
pub mod identity;
pub mod introspection;
pub mod issuer;
pub mod json;
pub mod jwk;
pub mod jwt;
pub mod kind;
pub mod login;
pub mod logout_token;
pub mod pattern;
pub mod permit;
pub mod policies;
pub mod principal;
pub mod reject;
pub mod request;
mod roca;
pub mod route;
pub mod seal;
pub mod session;
pub mod site;
pub mod trace;
#[cfg(test)]
mod vectors;

/// What requests are judged by: immutable, built once from the configuration.
#[derive(Debug)]
pub struct Rules {
    /// Which requests get which policy and upstream.
    pub routes: RouteTable,
    /// Who signs; [`IssuerId`] is the place here.
    pub issuers: Vec<Issuer>,
    /// Where browsers with sessions see us; [`SiteId`](site::SiteId) is the place here.
    pub sites: Vec<Site>,
    /// The longest token in bytes.
    pub token_bytes: usize,
    /// How large a head may be.
    pub head: request::HeadLimits,
}

impl Rules {
    /// Refuses a token that is longer than any that is read.
    ///
    /// # Errors
    ///
    /// `token_too_large`.
    pub fn size(&self, token: &str) -> Result<(), Reject> {
        let (length, limit) = (token.len(), self.token_bytes);
        if length > limit { Err(Reject::TokenTooLarge { length, limit }) } else { Ok(()) }
    }

    /// The site that a request is to itself, and what follows the site's own path: such a request takes no route.
    pub fn site<'r>(&self, request: &'r RequestView<'_>) -> Option<(SiteId, &'r str)> {
        let mut sites = self.sites.iter().enumerate();
        sites.find_map(|(at, site)| Some((SiteId(at), site.beneath(request)?)))
    }

    /// The issuer that is asked about opaque tokens, where one of these policies' is.
    pub fn introspecting(&self, policies: &Policies) -> Option<(IssuerId, &Issuer)> {
        let issuers = policies.issuers().iter().filter_map(|id| Some((*id, self.issuers.get(id.0)?)));
        issuers.into_iter().find(|(_, issuer)| issuer.introspection.is_some())
    }

    /// The issuer that a token names, if one of these policies takes its tokens: by exact `iss` (RFC 8725 section 3.8).
    ///
    /// # Errors
    ///
    /// `claims_malformed` or `issuer_unknown`.
    pub fn issuer(&self, policies: &Policies, claims: &Claims) -> Result<(IssuerId, &Issuer), Reject> {
        let iss = claims.issuer()?;
        let trusted = || policies.issuers().iter().filter_map(|id| Some((*id, self.issuers.get(id.0)?)));
        trusted().find(|(_, issuer)| issuer.is_called(iss)).ok_or_else(|| Reject::IssuerUnknown {
            iss: Quoted::from(iss),
            source: claims.source(),
            trusted: trusted().flat_map(|(_, issuer)| issuer.spellings.clone()).collect(),
        })
    }
}
