//! The parties we call: key sets of issuers, upstreams.
