//! `[[routes]]`: which requests get which policy and upstream.

use std::sync::Arc;

use http::HeaderValue;

use super::cross_origin::cross_origin;
use super::issuers::Raw;
use super::paths::{encoded_slashes, stripped};
use super::policies::{one_introspecting, policy};
use super::reach::reached;
use super::repeated;
use super::sessions::{self, beneath};
use super::upstreams::Upstreams;
use crate::config::declare::Field;
use crate::config::fault::{Faults, Span};
use crate::config::model::{Authorization, HostField};
use crate::config::nearest::defined;
use crate::config::options;
use crate::config::read::{At, EncodedSlash, NAME_HELP, PolicyChoice, is_name};
use crate::policy::cors::CrossOrigin;
use crate::policy::permit::Policy;
use crate::policy::policies::Policies;
use crate::policy::route::{Access, Route, RouteTable, UpstreamId};

/// What routes refer to.
pub(super) struct Surroundings<'r> {
    /// The issuers of the file.
    pub(super) issuers: &'r [Raw],
    /// Its sessions.
    pub(super) sessions: &'r [sessions::Raw],
    /// Its policies, by name; `None`: with faults, which were reported.
    pub(super) policies: Vec<(&'r str, Option<Arc<Policy>>)>,
    /// The largest body of a route that says nothing of it.
    pub(super) body_bytes: Option<u64>,
}

/// Builds the table of routes, and adds to `upstreams` those that routes name by URL.
pub(super) fn routes(
    raw: &[options::Route],
    around: &Surroundings<'_>,
    upstreams: &mut Upstreams<'_>,
    faults: &mut Faults,
) -> Option<RouteTable> {
    let names = names(raw, faults);
    let built: Vec<_> = raw.iter().zip(names).map(|(raw, name)| route(name, raw, around, upstreams, faults)).collect();
    ties(raw, faults);
    encoded_slashes(raw, faults);
    reached(raw, &built, upstreams, faults);
    beneath(raw, around.sessions, faults);
    RouteTable::new(built.into_iter().collect::<Option<_>>()?).ok()
}

/// Reports the routes that take the same requests, also where something else is wrong with them.
fn ties(raw: &[options::Route], faults: &mut Faults) {
    let (spans, shapes): (Vec<&Span>, Vec<Route>) =
        raw.iter().filter_map(|raw| Some((&raw.path.span, shape(raw)?))).unzip();
    for tie in RouteTable::new(shapes).err().into_iter().flatten() {
        if let (Some(first), Some(second)) = (spans.get(tie.first), spans.get(tie.second)) {
            let help = "tell them apart by host, path or method, or make one of the two; their order never matters";
            faults.fault(second, "two routes take the same requests", help).also(first, "the other one");
        }
    }
}

/// Which requests a route takes, and nothing of what becomes of them: nobody may pass, and it leads nowhere.
fn shape(raw: &options::Route) -> Option<Route> {
    // Without a list that could not be read, the route would seem to take more than it does.
    if (raw.hosts.written && raw.hosts.value.is_none()) || (raw.methods.written && raw.methods.value.is_none()) {
        return None;
    }
    Some(Route {
        name: String::new(),
        hosts: raw.hosts.value.iter().flatten().map(|at| at.value.clone()).collect(),
        path: raw.path.value.clone()?,
        methods: raw.methods.value.iter().flatten().map(|at| at.value.clone()).collect(),
        access: Access::Policies(Policies::default()),
        upstream: UpstreamId(usize::MAX),
        identity_headers: Arc::default(),
        keep_authorization: false,
        upstream_host: None,
        stripped: 0,
        keeps_encoded_slash: false,
        cross_origin: CrossOrigin::Ignored,
        session: None,
        login: None,
        body_bytes: None,
    })
}

fn route(
    name: Option<String>,
    raw: &options::Route,
    around: &Surroundings<'_>,
    upstreams: &mut Upstreams<'_>,
    faults: &mut Faults,
) -> Option<Route> {
    let hosts: Vec<_> = raw.hosts.value.iter().flatten().map(|at| (&at.value, &at.span)).collect();
    repeated(&hosts, ToString::to_string, faults);
    let methods: Vec<_> = raw.methods.value.iter().flatten().map(|at| (&at.value, &at.span)).collect();
    repeated(&methods, ToString::to_string, faults);
    empty(&raw.hosts, faults);
    empty(&raw.methods, faults);
    colons(raw, faults);
    let cross_origin = cross_origin(raw, faults);
    let stripped = stripped(raw, faults);
    let access = access(name.as_deref().unwrap_or_default(), raw, around, faults);
    let session = sessions::of_route(raw, access.as_ref(), around, faults);
    let login = session.flatten().and_then(|id| sessions::login(&around.sessions.get(id.0)?.1));
    let upstream = raw.upstream.value.as_ref().and_then(|word| upstreams.find(&word.0, &raw.upstream.span, faults))?;
    let target = upstreams.get(upstream)?;
    Some(Route {
        name: name?,
        access: access?,
        upstream,
        identity_headers: target.identity_headers.clone(),
        keep_authorization: target.authorization == Authorization::Keep,
        upstream_host: match target.host {
            HostField::Preserve => None,
            HostField::Upstream => HeaderValue::try_from(target.address.host_field()).ok(),
        },
        stripped: stripped?,
        keeps_encoded_slash: raw.encoded_slash.value? == EncodedSlash::Keep,
        cross_origin: cross_origin?,
        session: session?,
        login,
        body_bytes: raw.body_bytes.value.map_or(around.body_bytes, |limit| limit.0),
        ..shape(raw)?
    })
}

/// `:id` is how others write what is `{id}` here; as a literal segment it would match next to nothing.
fn colons(raw: &options::Route, faults: &mut Faults) {
    let Some(path) = &raw.path.value else { return };
    let path = path.to_string();
    let segments = || path.split('/');
    if let Some(colon) = segments().find(|segment| segment.len() > 1 && segment.starts_with(':')) {
        let meant: Vec<_> = segments()
            .map(|segment| segment.strip_prefix(':').map_or_else(|| segment.to_owned(), |name| format!("{{{name}}}")))
            .collect();
        let help = format!("write \"{}\", where it stands for any segment", meant.join("/"));
        faults.warn(
            &raw.path.span,
            format!("`{colon}` is a literal segment: only a path with this very text matches"),
            help,
        );
    }
}

fn empty<T>(list: &Field<Vec<T>>, faults: &mut Faults) {
    if list.value.as_ref().is_some_and(Vec::is_empty) {
        faults.fault(&list.span, "an empty list", "name at least one, or leave the option out for all");
    }
}

fn access(route: &str, raw: &options::Route, around: &Surroundings<'_>, faults: &mut Faults) -> Option<Access> {
    let policies = match raw.policy.value.as_ref()? {
        PolicyChoice::Public => return Some(Access::Public),
        PolicyChoice::Inline(inline, span) => {
            policy(route, inline, span, around.issuers, faults).map(|policy| Policies::new(vec![policy]))
        }
        PolicyChoice::Named(names) => {
            let spans: Vec<_> = names.iter().map(|at| (&at.value, &at.span)).collect();
            repeated(&spans, ToString::to_string, faults);
            // Each name is looked at, also after one that is wrong.
            let found: Vec<_> = names.iter().map(|name| named(name, around, faults)).collect();
            let policies = found.into_iter().collect::<Option<Vec<_>>>().map(Policies::new)?;
            // What is wrong with one policy alone was reported there.
            if policies.all().len() > 1 {
                let issuers = policies.issuers().iter();
                one_introspecting("route", issuers, around.issuers, &raw.policy.span, faults);
            }
            Some(policies)
        }
    };
    policies.map(Access::Policies)
}

/// The policy of that name; `None` also where it has faults, which were reported.
fn named(At { value: word, span }: &At<String>, around: &Surroundings<'_>, faults: &mut Faults) -> Option<Arc<Policy>> {
    let Some((_, policy)) = around.policies.iter().find(|(name, _)| name == word) else {
        // `public` is never suggested: nobody should come to it by a slip of the pen.
        let known = around.policies.iter().map(|(name, _)| *name);
        let needs = "what a token must say, such as `audience = [\"https://api.example.com\"]`";
        faults.fault(span, format!("no policy is called `{word}`"), defined(word, known, "policies", needs));
        return None;
    };
    policy.clone()
}

/// The name of each route: its own, or made from host and path, and from the methods where that is not enough.
fn names(raw: &[options::Route], faults: &mut Faults) -> Vec<Option<String>> {
    let short: Vec<_> = raw.iter().map(default_name).collect();
    let mut names: Vec<Option<String>> = Vec::new();
    for (at, route) in raw.iter().enumerate() {
        if let Some(name) = route.name.value.as_ref().filter(|name| !is_name(&name.0)) {
            let what = format!("`{}` cannot be a name: it becomes the label of a metric", name.0);
            faults.fault(&route.name.span, what, NAME_HELP);
        }
        let shared = short.iter().enumerate().any(|(other, name)| other != at && *name == short[at]);
        let made = || match &route.methods.value {
            Some(methods) if shared => {
                let methods: Vec<_> = methods.iter().map(|at| at.value.as_str()).collect();
                short[at].as_ref().map(|name| format!("{name} {}", methods.join(",")))
            }
            Some(_) | None => short[at].clone(),
        };
        let name = route.name.value.as_ref().map(|name| name.0.clone()).or_else(made);
        if let Some(first) = route.name.value.as_ref().and_then(|_| names.iter().position(|earlier| *earlier == name)) {
            let help = "a name is the label of a metric: give each route its own";
            faults.fault(&route.name.span, "two routes have this name", help).also(&raw[first].name.span, "the first");
        }
        names.push(name);
    }
    names
}

fn default_name(route: &options::Route) -> Option<String> {
    let hosts: Vec<_> = route.hosts.value.iter().flatten().map(|at| at.value.to_string()).collect();
    Some(format!("{}{}", hosts.join(","), route.path.value.as_ref()?))
}
