//! What `strip_prefix` lets a route reach.
//!
//! An upstream sees neither routes nor what was stripped: what it serves under a path is reached by every route that sends
//! this path to it. Where another route has another policy for who comes there, that is hardly meant, and warned of.

use std::sync::Arc;

use super::upstreams::Upstreams;
use crate::config::fault::Faults;
use crate::config::options;
use crate::policy::pattern::RoutePattern;
use crate::policy::route::{Access, Route, share_a_method};

/// Warns of each route that reaches, by what it or the other strips, what another route guards.
pub(super) fn reached(raw: &[options::Route], built: &[Option<Route>], upstreams: &Upstreams<'_>, faults: &mut Faults) {
    let routes: Vec<_> = raw.iter().zip(built).filter_map(|(raw, route)| Some((raw, route.as_ref()?))).collect();
    for (place, (raw, route)) in routes.iter().enumerate() {
        let mut told = Vec::new();
        for (other_place, (guard_raw, guard)) in routes.iter().enumerate() {
            let Some(reached) = reach(route, guard, place < other_place, upstreams) else { continue };
            let asked = route.path.before(route.stripped, &reached);
            // A narrower route takes these requests, and is looked at itself.
            let is_taken = |(_, other): &(_, &Route)| {
                let is_narrower = other.path.is_narrower(&route.path) && !route.path.is_narrower(&other.path);
                is_narrower && other.path.covers(&asked) && takes_hosts(other, route)
            };
            if told.contains(&asked) || routes.iter().any(is_taken) {
                continue;
            }
            let what = format!("`{asked}` comes here and is `{reached}` to the upstream, which another route guards");
            let help = format!("give `{asked}` a route with the policy that is meant for it");
            let span = if raw.strip_prefix.written { &raw.strip_prefix.span } else { &raw.path.span };
            faults.warn(span, what, help).also(&guard_raw.path.span, "by another policy");
            told.push(asked);
        }
    }
}

/// What the upstream serves by the policy of `guard` and is reached by `route`, which has another. Where both reach the same,
/// only the `first` is told.
fn reach(route: &Route, guard: &Route, first: bool, upstreams: &Upstreams<'_>) -> Option<RoutePattern> {
    let strips = route.stripped + guard.stripped > 0;
    if !strips || is_same(&route.access, &guard.access) || !share_a_method(&route.methods, &guard.methods) {
        return None;
    }
    if upstreams.get(route.upstream)?.address != upstreams.get(guard.upstream)?.address {
        return None;
    }
    let (ours, theirs) = (route.path.without(route.stripped), guard.path.without(guard.stripped));
    let is_the_guards = theirs.covers(&ours) && !(first && ours.covers(&theirs));
    if is_the_guards { None } else { ours.meet(&theirs) }
}

/// Whether `guard` guards nothing, or both have the very same policies.
fn is_same(access: &Access, guard: &Access) -> bool {
    match (access, guard) {
        (_, Access::Public) => true,
        (Access::Public, Access::Policies(_)) => false,
        (Access::Policies(one), Access::Policies(other)) => {
            one.all().iter().map(Arc::as_ptr).eq(other.all().iter().map(Arc::as_ptr))
        }
    }
}

/// Whether each host of `route` is one of `other`: a host is looked for among the routes that name it alone.
fn takes_hosts(other: &Route, route: &Route) -> bool {
    other.hosts.is_empty() == route.hosts.is_empty() && route.hosts.iter().all(|host| other.hosts.contains(host))
}
