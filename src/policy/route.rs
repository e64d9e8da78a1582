//! Which route a request takes: host, then path, then method; never back to a broader one.
//!
//! 1. The host: the exact one, else the longest `*.` suffix (one or more labels), else the routes without hosts.
//! 2. Within that host, of all patterns that match the whole path the most specific, compared segment by segment: a
//!    literal before `{id}` before `/*`. `/orders/*` takes `/orders`, `/orders/` and everything below.
//! 3. Among the routes of exactly that host and pattern, the one for the method; none is a 405. A preflight takes the route
//!    of the method that it asks for, where that one takes preflights, else the one of its own method.
//! 4. A path with an encoded slash is refused unless that route keeps it. It stands within a segment for us and may divide
//!    the path for others, so that the configuration allows it only where nothing narrower could be meant.
//!
//! Each look-up walks a tree of segments, so its cost follows the path's length and not the number of routes.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::cors::{CrossOrigin, Preflight};
use super::identity::IdentityHeader;
use super::pattern::{HostPattern, RoutePattern, Segment};
use super::policies::Policies;
use super::reject::Reject;
use super::request::RequestView;
use super::site::SiteId;

/// The place of an upstream in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub usize);

/// Which requests get which policy and upstream.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in the configuration, in metrics and in log lines.
    pub name: String,
    /// The hosts it is for; none: those that no other route names.
    pub hosts: Vec<HostPattern>,
    /// The paths it is for.
    pub path: RoutePattern,
    /// The methods it is for; none: all.
    pub methods: Vec<Method>,
    /// Who may pass.
    pub access: Access,
    /// Where its requests go.
    pub upstream: UpstreamId,
    /// Which claims its upstream is told.
    pub identity_headers: Arc<[IdentityHeader]>,
    /// Whether its upstream gets the `Authorization` header.
    pub keep_authorization: bool,
    /// The `Host` that its upstream gets; none: the client's.
    pub upstream_host: Option<HeaderValue>,
    /// How many segments of the path its upstream does not get; every path of the route begins with as many literal ones.
    pub stripped: usize,
    /// Whether `%2F` may stand in its paths.
    pub keeps_encoded_slash: bool,
    /// What becomes of requests from pages of other origins.
    pub cross_origin: CrossOrigin,
    /// Whose session cookies are a credential here, beside Bearer tokens.
    pub session: Option<SiteId>,
    /// The address where a browser logs in to get such a cookie.
    pub login: Option<String>,
    /// The largest body in bytes; none: no limit.
    pub body_bytes: Option<u64>,
}

impl Route {
    /// What the upstream is asked for, of a path as it was sent and decided on: all of it, less the stripped segments.
    pub fn sent_path<'a>(&self, path: &'a str) -> &'a str {
        let after = |path: &'a str| {
            let slash = path.get(1..).and_then(|rest| rest.find('/'));
            slash.and_then(|at| path.get(at + 1..)).unwrap_or_default()
        };
        let rest = (0..self.stripped).fold(path, |path, _| after(path));
        if rest.is_empty() { "/" } else { rest }
    }
}

/// Who may pass.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anybody: no credential is looked at.
    Public,
    /// Whoever one of the policies permits.
    Policies(Policies),
}

/// Two routes that would take the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tie {
    /// The place of the earlier one.
    pub first: usize,
    /// The place of the later one.
    pub second: usize,
}

/// All routes, found by host, path and method.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    exact: HashMap<String, Node>,
    suffixes: HashMap<String, Node>,
    anywhere: Node,
}

/// One segment deep in the tree of one host: what may follow, and the routes that end here.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Routes whose pattern ends here.
    whole: Vec<usize>,
    /// Routes whose pattern ends here with `/*`.
    open: Vec<usize>,
}

impl RouteTable {
    /// Orders the routes for look-up.
    ///
    /// # Errors
    ///
    /// Every pair of routes that would take the same request.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<Tie>> {
        let mut table =
            Self { routes: Vec::new(), exact: HashMap::new(), suffixes: HashMap::new(), anywhere: Node::default() };
        let mut ties = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let mut insert = |node: &mut Node| {
                let place = node.place(&route.path);
                ties.extend(
                    place
                        .iter()
                        .filter(|other| share_a_method(&routes[**other].methods, &route.methods))
                        .map(|other| Tie { first: *other, second: index }),
                );
                place.push(index);
            };
            if route.hosts.is_empty() {
                insert(&mut table.anywhere);
            }
            for host in &route.hosts {
                insert(match host {
                    HostPattern::Exact(host) => table.exact.entry(host.clone()).or_default(),
                    HostPattern::Suffix(suffix) => table.suffixes.entry(suffix.clone()).or_default(),
                });
            }
        }
        ties.sort_unstable();
        ties.dedup();
        if ties.is_empty() { Ok(Self { routes, ..table }) } else { Err(ties) }
    }

    /// The routes in the order of the configuration.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route that this request takes, by the rules above.
    ///
    /// # Errors
    ///
    /// `path_ambiguous`, `route_unknown` or `method_not_allowed`.
    pub fn find(&self, request: &RequestView<'_>) -> Result<(usize, &Route), Reject> {
        let path = request.path().strip_prefix('/').ok_or(Reject::RouteUnknown)?;
        let candidates = self.host(request.host()).find(Some(path)).unwrap_or_default();
        // The head comes before the route: a path that may not be as it is gets that answer wherever it leads.
        if request.has_encoded_slash() && !self.among(candidates).any(|(_, route)| route.keeps_encoded_slash) {
            return Err(ENCODED_SLASH);
        }
        if candidates.is_empty() {
            return Err(Reject::RouteUnknown);
        }
        let preflighted = Preflight::of(request)
            .and_then(|preflight| self.taking(candidates, preflight.method()))
            .filter(|(_, route)| route.cross_origin.takes_preflights());
        let found = preflighted.or_else(|| self.taking(candidates, request.method()));
        let (index, route) = found.ok_or_else(|| Reject::MethodNotAllowed { allow: self.allowed(candidates) })?;
        if request.has_encoded_slash() && !route.keeps_encoded_slash { Err(ENCODED_SLASH) } else { Ok((index, route)) }
    }

    /// The route that lets pages of `origin` read that the method is refused: one of exactly this host and path.
    pub fn read_by(&self, request: &RequestView<'_>, origin: &HeaderValue) -> Option<usize> {
        let path = request.path().strip_prefix('/')?;
        let candidates = self.host(request.host()).find(Some(path))?;
        let lets = |route: &Route| matches!(&route.cross_origin, CrossOrigin::Answered(cors) if cors.is_for(origin));
        self.among(candidates).find(|(_, route)| lets(route)).map(|(index, _)| index)
    }

    /// The route of these that is for the method.
    fn taking(&self, candidates: &[usize], method: &Method) -> Option<(usize, &Route)> {
        self.among(candidates).find(|(_, route)| route.methods.is_empty() || route.methods.contains(method))
    }

    fn among(&self, candidates: &[usize]) -> impl Iterator<Item = (usize, &Route)> {
        candidates.iter().filter_map(|index| Some((*index, self.routes.get(*index)?)))
    }

    fn host(&self, host: &str) -> &Node {
        if let Some(node) = self.exact.get(host) {
            return node;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(node) = self.suffixes.get(suffix) {
                return node;
            }
            rest = suffix;
        }
        &self.anywhere
    }

    /// The methods of these routes, for `Allow`.
    fn allowed(&self, candidates: &[usize]) -> String {
        let methods = self.among(candidates).flat_map(|(_, route)| &route.methods);
        methods.map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Node {
    /// The list of routes with exactly this pattern.
    fn place(&mut self, pattern: &RoutePattern) -> &mut Vec<usize> {
        let mut node = self;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
            };
        }
        if pattern.open { &mut node.open } else { &mut node.whole }
    }

    /// The routes of the most specific pattern that matches all of `rest`; none left is the end of the path.
    ///
    /// Each node is visited at most once, and no deeper than the longest pattern.
    fn find(&self, rest: Option<&str>) -> Option<&[usize]> {
        let Some(rest) = rest else {
            let here = if self.whole.is_empty() { &self.open } else { &self.whole };
            return (!here.is_empty()).then_some(here);
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let literal = self.literals.get(segment).and_then(|node| node.find(after));
        let any = || self.any.as_ref().filter(|_| !segment.is_empty()).and_then(|node| node.find(after));
        let open = || (!self.open.is_empty()).then_some(self.open.as_slice());
        literal.or_else(any).or_else(open)
    }
}

const ENCODED_SLASH: Reject = Reject::PathAmbiguous { what: "a percent-encoded slash" };

/// Whether some method is taken by both lists, of which an empty one takes all.
pub fn share_a_method(one: &[Method], other: &[Method]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|method| other.contains(method))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, Version, header::HOST};

    use super::*;
    use crate::policy::request::HeadLimits;

    fn route(name: &str, hosts: &[&str], path: &str, methods: &[Method]) -> Route {
        Route {
            name: name.to_owned(),
            hosts: hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
            path: RoutePattern::parse(path).unwrap(),
            methods: methods.to_vec(),
            access: Access::Public,
            upstream: UpstreamId(0),
            identity_headers: Arc::new([]),
            keep_authorization: true,
            upstream_host: None,
            stripped: 0,
            keeps_encoded_slash: false,
            cross_origin: CrossOrigin::default(),
            session: None,
            login: None,
            body_bytes: None,
        }
    }

    fn found(table: &RouteTable, method: Method, host: &str, path: &str) -> Result<String, Reject> {
        let uri: Uri = path.parse().unwrap();
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        let limits = HeadLimits { bytes: 1 << 15, fields: 100 };
        let request = RequestView::new(&method, &uri, Version::HTTP_11, &headers, limits).unwrap();
        table.find(&request).map(|(_, route)| route.name.clone())
    }

    #[test]
    fn the_most_specific_host_and_path_decide_and_nothing_falls_back() {
        let table = RouteTable::new(vec![
            route("root", &[], "/*", &[]),
            route("orders", &[], "/orders/*", &[Method::GET]),
            route("orders-post", &[], "/orders/*", &[Method::POST]),
            route("order", &[], "/orders/{id}", &[]),
            route("special", &[], "/orders/special", &[Method::GET]),
            route("items", &[], "/orders/{id}/items", &[]),
            route("api", &[], "/api", &[]),
            route("api-slash", &[], "/api/", &[]),
            route("host", &["api.example.com"], "/only", &[]),
            route("wide", &["*.example.com"], "/*", &[]),
            route("narrow", &["*.eu.example.com"], "/*", &[]),
        ])
        .unwrap();
        let get = |host: &str, path: &str| found(&table, Method::GET, host, path);
        for (host, path, expected) in [
            ("x", "/", Ok("root")),
            ("x", "/orders", Ok("orders")),
            ("x", "/orders/", Ok("orders")),
            ("x", "/orders/7", Ok("order")),
            ("x", "/orders/special", Ok("special")),
            ("x", "/orders/special/items", Ok("items")),
            ("x", "/orders/7/items", Ok("items")),
            ("x", "/orders/7/items/8", Ok("orders")),
            ("x", "/ordersx", Ok("root")),
            ("x", "/Orders/7", Ok("root")),
            ("x", "/api", Ok("api")),
            ("x", "/api/", Ok("api-slash")),
            ("x", "/api/x", Ok("root")),
            ("API.example.com.:81", "/only", Ok("host")),
            ("api.example.com", "/other", Err(Reject::RouteUnknown)),
            ("a.example.com", "/x", Ok("wide")),
            ("a.b.example.com", "/x", Ok("wide")),
            ("a.b.eu.example.com", "/x", Ok("narrow")),
            ("example.com", "/x", Ok("root")),
        ] {
            assert_eq!(get(host, path), expected.map(str::to_owned), "{host}{path}");
        }
        assert_eq!(found(&table, Method::POST, "x", "/orders").as_deref(), Ok("orders-post"));
        assert_eq!(
            found(&table, Method::HEAD, "x", "/orders"),
            Err(Reject::MethodNotAllowed { allow: "GET, POST".to_owned() })
        );
        assert_eq!(
            found(&table, Method::POST, "x", "/orders/special"),
            Err(Reject::MethodNotAllowed { allow: "GET".to_owned() })
        );
    }

    #[test]
    fn routes_that_tie_are_all_named() {
        let ties = RouteTable::new(vec![
            route("a", &[], "/x/{id}", &[]),
            route("b", &[], "/x/{name}", &[Method::GET]),
            route("c", &["h", "i"], "/y", &[Method::GET, Method::PUT]),
            route("d", &["i"], "/y", &[Method::PUT]),
            route("e", &["j"], "/y", &[Method::PUT]),
        ])
        .unwrap_err();
        assert_eq!(ties, [Tie { first: 0, second: 1 }, Tie { first: 2, second: 3 }]);
    }
}
