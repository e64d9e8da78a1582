//! What the file defines and nothing uses: hardly meant, and of an issuer that is believed to be in use perhaps a slip.
//!
//! It is looked for only where nothing is wrong: until then nobody knows what a wrong part was to use.

use std::sync::Arc;

use super::named;
use crate::config::fault::Faults;
use crate::config::model::Config;
use crate::config::options::File;
use crate::policy::issuer::IssuerId;
use crate::policy::permit::Policy;
use crate::policy::policies::Policies;
use crate::policy::route::{Access, UpstreamId};
use crate::policy::site::SiteId;

/// Warns of issuers, policies, upstreams and sessions that nothing refers to. `policies`: those of the file, in its order.
pub(super) fn unused(file: &File, config: &Config, policies: &[Arc<Policy>], faults: &mut Faults) {
    let routes = config.rules.routes.routes();
    let judging: Vec<&Arc<Policy>> =
        routes.iter().filter_map(|route| judged_by(&route.access)).flat_map(Policies::all).collect();
    for ((name, _), policy) in named(&file.policies).iter().zip(policies) {
        if !judging.iter().any(|used| Arc::ptr_eq(used, policy)) {
            let help = format!("give a route `policy = \"{}\"`, or remove it", name.value);
            faults.warn(&name.span, format!("no route has the policy `{}`", name.value), help);
        }
    }
    for (at, (name, _)) in named(&file.issuers).iter().enumerate() {
        let id = IssuerId(at);
        let is_taken = policies.iter().chain(judging.iter().copied()).any(|policy| policy.issuers.contains(&id));
        if !is_taken && !config.sessions.iter().any(|session| session.issuer == id) {
            let help = format!("name it in `issuers = [\"{}\"]` of a policy, or remove it", name.value);
            faults.warn(&name.span, format!("no policy takes the tokens of issuer `{}`", name.value), help);
        }
    }
    for (at, (name, _)) in named(&file.upstreams).iter().enumerate() {
        if !routes.iter().any(|route| route.upstream == UpstreamId(at)) {
            let help = format!("give a route `upstream = \"{}\"`, or remove it", name.value);
            faults.warn(&name.span, format!("no route goes to the upstream `{}`", name.value), help);
        }
    }
    for (at, (name, _)) in named(&file.sessions).iter().enumerate() {
        if !routes.iter().any(|route| route.session == Some(SiteId(at))) {
            let help = format!("give a route `session = \"{}\"`, or remove it", name.value);
            faults.warn(&name.span, format!("no route takes the cookie of session `{}`", name.value), help);
        }
    }
}

fn judged_by(access: &Access) -> Option<&Policies> {
    match access {
        Access::Public => None,
        Access::Policies(policies) => Some(policies),
    }
}
