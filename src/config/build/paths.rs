//! `strip_prefix` and `encoded_slash` of a route: how its path may differ from what a reader behind us takes it for.

use crate::config::fault::Faults;
use crate::config::options::Route;
use crate::config::read::EncodedSlash;
use crate::policy::pattern::RoutePattern;

/// How many segments of the path the upstream does not get.
pub(super) fn stripped(raw: &Route, faults: &mut Faults) -> Option<usize> {
    let Some(prefix) = &raw.strip_prefix.value else { return (!raw.strip_prefix.written).then_some(0) };
    let path = raw.path.value.as_ref()?;
    let count = path.begins_with(&prefix.0);
    if count.is_none() {
        let literals = path.literal_prefix(usize::MAX);
        let help = if literals.is_empty() {
            "the path begins with no literal segment: leave the option out, or begin the path with one".to_owned()
        } else {
            format!("write whole segments that the path begins with, at most \"{literals}\"")
        };
        let what = format!("`{}` is no prefix of every path of this route", prefix.0);
        faults.fault(&raw.strip_prefix.span, what, help).also(&raw.path.span, "its path");
    }
    count
}

/// Reports each route that keeps encoded slashes where one could mean another route.
pub(super) fn encoded_slashes(routes: &[Route], faults: &mut Faults) {
    for route in routes.iter().filter(|route| route.encoded_slash.value == Some(EncodedSlash::Keep)) {
        let Some(path) = &route.path.value else { continue };
        if !path.can_hold_a_slash() {
            let help = "leave it out, or let the path have `{name}` or end with `/*`";
            faults
                .fault(&route.encoded_slash.span, "no path of this route can hold an encoded slash", help)
                .also(&route.path.span, "every segment is literal");
        }
        let beneath = |other: &&Route| {
            share_a_host(route, other) && other.path.value.as_ref().is_some_and(|other| path.slash_reaches(other))
        };
        for other in routes.iter().filter(beneath) {
            let other_path = other.path.value.as_ref().map_or_else(String::new, RoutePattern::to_string);
            let what =
                format!("a path with an encoded slash would come here, and may be one of `{other_path}` to the API");
            let help = "keep encoded slashes only where no narrower route lies beneath";
            faults.fault(&route.encoded_slash.span, what, help).also(&other.path.span, "the narrower route");
        }
    }
}

/// Whether some host leads to both: a host is looked for among the routes of one pattern alone.
fn share_a_host(one: &Route, other: &Route) -> bool {
    let hosts = |route: &Route| -> Vec<_> { route.hosts.value.iter().flatten().map(|at| at.value.clone()).collect() };
    let (ours, theirs) = (hosts(one), hosts(other));
    if ours.is_empty() { theirs.is_empty() } else { ours.iter().any(|host| theirs.contains(host)) }
}
