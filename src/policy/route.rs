//! Which route a request takes: host, then path, then method; never back to a broader one.
//!
//! 1. The host: the exact one, else the longest `*.` suffix (one or more labels), else the routes without hosts.
//! 2. Within that host, of all patterns that match the whole path the most specific, compared segment by segment: a
//!    literal before `{id}` before `/*`. `/orders/*` takes `/orders`, `/orders/` and everything below.
//! 3. Among the routes of exactly that host and pattern, the one for the method; none is a 405.
//!
//! Each look-up walks a tree of segments, so its cost follows the path's length and not the number of routes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Method;

use super::identity::IdentityHeader;
use super::policies::Policies;
use super::reject::Reject;
use super::request::RequestView;

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
    /// The largest body in bytes; none: no limit.
    pub body_bytes: Option<u64>,
}

/// Who may pass.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anybody: no credential is looked at.
    Public,
    /// Whoever one of the policies permits.
    Policies(Policies),
}

/// A host as a route names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host alone, in lower case.
    Exact(String),
    /// Every host that ends with this suffix and has one or more labels before it; kept without `*.`.
    Suffix(String),
}

impl HostPattern {
    /// Reads `api.example.com` or `*.example.com`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let lower = text.to_ascii_lowercase();
        let (name, is_suffix) = match lower.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (lower.as_str(), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains('*') {
            return Err("has a `*` elsewhere than in `*.` at its beginning");
        }
        if !name.starts_with('[') && name.contains(':') {
            return Err("has a port; ports do not count, leave it out");
        }
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = match address {
            Some(address) => !is_suffix && address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
                    && name.split('.').all(|label| !label.is_empty())
            }
        };
        if !valid {
            return Err("is not a host name such as `api.example.com` or `*.example.com`");
        }
        Ok(if is_suffix { Self::Suffix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// A path as a route names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    text: String,
    segments: Vec<Segment>,
    /// Whether it ends with `/*`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `{id}`; the name is for people.
    Any,
}

impl RoutePattern {
    /// Reads `/orders`, `/orders/{id}` or `/orders/*`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(path) = text.strip_prefix('/') else { return Err("does not begin with `/`") };
        if path == "*" {
            return Ok(Self { text: text.to_owned(), segments: Vec::new(), open: true });
        }
        let (path, open) = match path.strip_suffix('*') {
            Some(before) => match before.strip_suffix('/') {
                Some(before) => (before, true),
                None => return Err("has a `*` that is not the whole last segment; write `/*` at its end"),
            },
            None => (path, false),
        };
        let last = path.split('/').count() - 1;
        let segment = |(at, segment)| Segment::parse(segment, at == last && !open);
        let segments = path.split('/').enumerate().map(segment).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments, open })
    }
}

impl Segment {
    fn parse(text: &str, may_be_empty: bool) -> Result<Self, &'static str> {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if named { Ok(Self::Any) } else { Err("has a `{}` without a plain name, such as `{id}`") };
        }
        match text {
            "" if may_be_empty => Ok(Self::Literal(String::new())),
            "" => Err("has an empty segment, which no request can have"),
            "." | ".." => Err("has a dot segment, which no request can have"),
            _ if text.contains(['{', '}', '*']) => {
                Err("has `{`, `}` or `*` within a segment; they stand for whole segments")
            }
            _ if text.contains(['%', '\\', ';', '?', '#']) || text.chars().any(char::is_control) => {
                Err("has a character that no decided path has; write the path decoded, without query and fragment")
            }
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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
    /// `route_unknown` or `method_not_allowed`.
    pub fn find(&self, request: &RequestView<'_>) -> Result<(usize, &Route), Reject> {
        let path = request.path().strip_prefix('/').ok_or(Reject::RouteUnknown)?;
        let candidates = self.host(request.host()).find(Some(path)).ok_or(Reject::RouteUnknown)?;
        candidates
            .iter()
            .find_map(|index| {
                let route = self.routes.get(*index)?;
                let takes = route.methods.is_empty() || route.methods.contains(request.method());
                takes.then_some((*index, route))
            })
            .ok_or_else(|| Reject::MethodNotAllowed { allow: self.allowed(candidates) })
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
        let methods = candidates.iter().filter_map(|index| self.routes.get(*index)).flat_map(|route| &route.methods);
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

fn share_a_method(one: &[Method], other: &[Method]) -> bool {
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

    #[test]
    fn patterns_that_no_request_can_match_are_refused() {
        for wrong in ["", "orders", "/a*", "/a/*/b", "/a//b", "/./a", "/{}", "/{a b}", "/x{a}", "/a%20b", "/a?b", "//*"]
        {
            assert!(RoutePattern::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "*", "*.", "a.*.b", "a b", "a:80", "a..b", "*.[::1]"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
