//! The hosts and paths that a route is for, as the configuration writes them.
//!
//! A path is matched decoded, segment by segment; a literal is more specific than `{id}`, and that than `/*`.

use std::fmt;

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
        if name.contains("://") {
            return Err("has a scheme; a route is for every scheme, leave it out");
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
    pub(super) segments: Vec<Segment>,
    /// Whether it ends with `/*`.
    pub(super) open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
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

impl RoutePattern {
    /// The literal segments that every path of it begins with, at most so many: `/orders` of `/orders/{id}/*`. Empty where
    /// there is none.
    pub fn literal_prefix(&self, most: usize) -> String {
        self.literals().take(most).flat_map(|literal| ["/", literal]).collect()
    }

    /// The number of segments of `prefix`, where every path of this pattern begins with exactly these.
    pub fn begins_with(&self, prefix: &str) -> Option<usize> {
        let wanted = prefix.strip_prefix('/')?.split('/');
        let mut literals = self.literals();
        let mut count = 0;
        for segment in wanted {
            if segment.is_empty() || literals.next() != Some(segment) {
                return None;
            }
            count += 1;
        }
        Some(count)
    }

    fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map_while(|segment| match segment {
            Segment::Literal(text) if !text.is_empty() => Some(text.as_str()),
            Segment::Literal(_) | Segment::Any => None,
        })
    }

    /// Whether a segment of its paths can hold an encoded slash: a literal one never does.
    pub fn can_hold_a_slash(&self) -> bool {
        self.open || self.segments.contains(&Segment::Any)
    }

    /// Whether `other` is narrower, and a path of this one with an encoded slash is one of `other` to who decodes the slash
    /// before dividing the path.
    pub fn slash_reaches(&self, other: &Self) -> bool {
        let same = self.segments == other.segments && self.open == other.open;
        !same && !self.is_narrower(other) && reads_as(&self.segments, self.open, &other.segments, other.open, false)
    }

    /// Its paths less their first segments, so many, which are literal: what is left of them. `/` where nothing is.
    #[must_use]
    pub fn without(&self, count: usize) -> Self {
        let mut segments = self.segments.get(count..).unwrap_or_default().to_vec();
        if segments.is_empty() && !self.open {
            segments.push(Segment::Literal(String::new()));
        }
        Self::of(segments, self.open)
    }

    /// The paths of `rest`, behind the first segments of this one, so many, which are literal. What [`Self::without`] takes away,
    /// this puts there again.
    #[must_use]
    pub fn before(&self, count: usize, rest: &Self) -> Self {
        let first = self.segments.iter().take(count).cloned();
        let is_root = count > 0 && !rest.open && rest.segments == [Segment::Literal(String::new())];
        let rest_segments = rest.segments.iter().filter(|_| !is_root).cloned();
        Self::of(first.chain(rest_segments).collect(), rest.open)
    }

    /// The paths that are of this one and of `other`; none where no path is.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let (long, short) = if self.segments.len() < other.segments.len() { (other, self) } else { (self, other) };
        let (beside, beyond) = long.segments.split_at(short.segments.len());
        if !beyond.is_empty() && !short.open {
            return None;
        }
        let both = beside.iter().zip(&short.segments).map(|pair| match pair {
            (Segment::Any, Segment::Literal(text)) | (Segment::Literal(text), Segment::Any) if text.is_empty() => None,
            (Segment::Any, segment) | (segment, Segment::Any) => Some(segment.clone()),
            (Segment::Literal(one), Segment::Literal(other)) => (one == other).then(|| Segment::Literal(one.clone())),
        });
        let mut segments = both.collect::<Option<Vec<_>>>()?;
        segments.extend_from_slice(beyond);
        Some(Self::of(segments, long.open && short.open))
    }

    /// Whether every path of `other` is of this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.meet(other).is_some_and(|both| both.segments == other.segments && both.open == other.open)
    }

    fn of(segments: Vec<Segment>, open: bool) -> Self {
        let shown = segments.iter().flat_map(|segment| match segment {
            Segment::Literal(text) => ["/", text.as_str()],
            Segment::Any => ["/", "{any}"],
        });
        let text = shown.chain(open.then_some("/*")).collect();
        Self { text, segments, open }
    }

    /// Whether this one is taken first where both match, compared segment by segment.
    pub fn is_narrower(&self, other: &Self) -> bool {
        let differ = self.segments.iter().zip(&other.segments).find(|(ours, theirs)| ours != theirs);
        match differ {
            Some((Segment::Literal(_), Segment::Any)) => true,
            Some((Segment::Any, _) | (Segment::Literal(_), Segment::Literal(_))) => false,
            None => other.open && self.segments.len() >= other.segments.len(),
        }
    }
}

/// Whether some path matches both patterns when each `{id}` of the first may stand for several segments. `several`: one
/// that stands before does so already, without which the path holds no encoded slash.
fn reads_as(ours: &[Segment], open: bool, theirs: &[Segment], theirs_open: bool, several: bool) -> bool {
    match (ours.split_first(), theirs.split_first()) {
        (None, None) => several,
        (None, Some(_)) => open,
        (Some(_), None) => theirs_open && (several || open || ours.contains(&Segment::Any)),
        (Some((Segment::Any, rest)), Some((_, their_rest))) => {
            reads_as(rest, open, their_rest, theirs_open, several)
                || reads_as(ours, open, their_rest, theirs_open, true)
        }
        (Some((Segment::Literal(one), rest)), Some((Segment::Literal(other), their_rest))) => {
            one == other && reads_as(rest, open, their_rest, theirs_open, several)
        }
        (Some((Segment::Literal(_), rest)), Some((Segment::Any, their_rest))) => {
            reads_as(rest, open, their_rest, theirs_open, several)
        }
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
            "*" => Err("has a `*` before its end; write `{name}` for one segment"),
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_prefix_is_whole_literal_segments() {
        for (pattern, prefix, count) in [
            ("/orders/*", "/orders", Some(1)),
            ("/orders", "/orders", Some(1)),
            ("/api/v1/{id}", "/api/v1", Some(2)),
            ("/api/v1/{id}", "/api", Some(1)),
            ("/orders/*", "/order", None),
            ("/orders/*", "/orders/", None),
            ("/orders/*", "/", None),
            ("/orders/*", "", None),
            ("/orders/*", "orders", None),
            ("/orders/{id}", "/orders/{id}", None),
            ("/{id}/a", "/a", None),
            ("/*", "/a", None),
            ("/orders/", "/orders", Some(1)),
        ] {
            assert_eq!(RoutePattern::parse(pattern).unwrap().begins_with(prefix), count, "{pattern} {prefix}");
        }
        for (pattern, expected) in [("/a/b/{id}/c/*", "/a/b"), ("/*", ""), ("/a/", "/a"), ("/a", "/a")] {
            assert_eq!(RoutePattern::parse(pattern).unwrap().literal_prefix(9), expected);
        }
        for (most, expected) in [(0, ""), (1, "/a"), (2, "/a/b"), (3, "/a/b")] {
            assert_eq!(RoutePattern::parse("/a/b/{id}").unwrap().literal_prefix(most), expected);
        }
    }

    #[test]
    fn patterns_meet_in_the_paths_of_both() {
        let pattern = |text: &str| RoutePattern::parse(text).unwrap();
        for (one, other, both) in [
            ("/*", "/admin/*", Some("/admin/*")),
            ("/*", "/", Some("/")),
            ("/*", "/*", Some("/*")),
            ("/a/*", "/a", Some("/a")),
            ("/a/*", "/a/", Some("/a/")),
            ("/a", "/a/", None),
            ("/a", "/b", None),
            ("/a", "/a/b", None),
            ("/a/*", "/b/*", None),
            ("/{id}/x", "/a/{id}", Some("/a/x")),
            ("/{id}/*", "/a/{id}", Some("/a/{any}")),
            ("/{id}", "/{name}", Some("/{any}")),
            ("/a/{id}", "/a/", None),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let met = pattern(one).meet(&pattern(other));
                assert_eq!(met.as_ref().map(RoutePattern::to_string).as_deref(), both, "{one} {other}");
                // What is drawn is what it is.
                assert!(met.is_none_or(|met| pattern(&met.to_string()).covers(&met)));
            }
        }
        for (one, other, expected) in [
            ("/*", "/a/{id}", true),
            ("/a/*", "/a/{id}/*", true),
            ("/a/{id}/*", "/a/*", false),
            ("/a/b/*", "/a/{id}/*", false),
            ("/a", "/a", true),
            ("/a", "/a/*", false),
        ] {
            assert_eq!(pattern(one).covers(&pattern(other)), expected, "{one} {other}");
        }
    }

    #[test]
    fn what_is_taken_away_is_put_there_again() {
        for (text, count, rest) in [
            ("/v1/*", 1, "/*"),
            ("/v1", 1, "/"),
            ("/a/b/{id}", 2, "/{any}"),
            ("/a/b/{id}", 1, "/b/{any}"),
            ("/a/*", 0, "/a/*"),
            ("/", 0, "/"),
        ] {
            let pattern = RoutePattern::parse(text).unwrap();
            let left = pattern.without(count);
            assert_eq!(left.to_string(), rest, "{text}");
            let again = pattern.before(count, &left);
            assert!(again.covers(&pattern) && pattern.covers(&again), "{text} {again}");
        }
    }

    #[test]
    fn an_encoded_slash_reaches_narrower_patterns_only() {
        for (keeps, other, expected) in [
            ("/files/*", "/files/admin/*", true),
            ("/files/*", "/files/admin", true),
            ("/files/*", "/files/{id}/x", true),
            ("/files/*", "/files/*", false),
            ("/files/*", "/files", false),
            ("/files/*", "/*", false),
            ("/files/*", "/{any}/admin", false),
            ("/files/*", "/other/admin", false),
            ("/*", "/files", true),
            ("/files/{id}", "/files/{id}/x", true),
            ("/files/{id}", "/files/{name}", false),
            ("/files/{id}", "/files/a/b", true),
            // A path of this one has a segment more to who decodes its slash.
            ("/files/{id}", "/files/a", false),
            ("/files/{id}", "/files/*", false),
            ("/files/{id}", "/*", false),
            ("/p/{id}/issues/*", "/p/{id}/issues/{n}", true),
            ("/p/{id}/issues/*", "/p/{id}/admin/*", true),
            ("/p/{id}/issues/*", "/p/*", false),
            ("/p/{id}/issues", "/p/{id}/issues/a", false),
            ("/p/{id}/issues", "/p/{id}/issues/issues", true),
            ("/{a}/files/*", "/{a}/admin/*", true),
            ("/{a}/files", "/{a}/admin", false),
            ("/{a}/files", "/{a}/admin/files", true),
            ("/files/{id}/*", "/files/admin/x", true),
            ("/files/{id}/*", "/files/admin", false),
        ] {
            let pattern = |text| RoutePattern::parse(text).unwrap();
            assert_eq!(pattern(keeps).slash_reaches(&pattern(other)), expected, "{keeps} {other}");
        }
        for (pattern, expected) in [("/a", false), ("/a/", false), ("/a/{id}", true), ("/a/*", true), ("/*", true)] {
            assert_eq!(RoutePattern::parse(pattern).unwrap().can_hold_a_slash(), expected, "{pattern}");
        }
    }
}
