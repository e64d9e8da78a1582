//! For how long an answer is fresh, by its own word (RFC 9111).
//!
//! `max-age` less the `Age` that caches on the way have counted (sections 4.2.3 and 5.2.2.1). An answer that may not be
//! kept (`no-store`, `no-cache`, `max-age=0`) says nothing: frameworks send that with every answer, and nobody who sends
//! it with a key set means that it be fetched for each token.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, HeaderName};

/// How long the answer of these header fields stays fresh; `None` where they do not say.
pub(super) fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let directives = || texts(headers, CACHE_CONTROL).flat_map(|text| text.split(',')).map(str::trim);
    let named = |directive: &str, name: &str| directive.split('=').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
    if directives().any(|directive| named(directive, "no-store") || named(directive, "no-cache")) {
        return None;
    }
    let ages = directives().filter(|directive| named(directive, "max-age")).map(|directive| {
        let (_, value) = directive.split_once('=')?;
        seconds(value.trim_matches('"'))
    });
    // Of two, the lesser; of one that cannot be read, nothing (section 4.2.1).
    let max_age = ages.collect::<Option<Vec<_>>>()?.into_iter().min()?;
    let age = texts(headers, AGE).next().and_then(seconds).unwrap_or_default();
    Some(Duration::from_secs(max_age.saturating_sub(age))).filter(|left| !left.is_zero())
}

fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// Delta-seconds (RFC 9111 section 1.2.2); more than fit are as many as fit.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_header_fields_say_of_freshness() {
        for (cache_control, age, expected) in [
            (&["max-age=300"][..], None, Some(300)),
            (&["public, MAX-AGE=300, must-revalidate"], None, Some(300)),
            (&["public", "max-age=\"300\""], None, Some(300)),
            (&["max-age=300, max-age=60"], None, Some(60)),
            (&["max-age=99999999999999999999999"], None, Some(u64::MAX)),
            (&["max-age=300"], Some("290"), Some(10)),
            (&["max-age=300"], Some("soon"), Some(300)),
            (&["max-age=300"], Some("300"), None),
            (&["max-age=300"], Some("301"), None),
            (&["max-age=0"], None, None),
            (&["max-age=-1"], None, None),
            (&["max-age=+5"], None, None),
            (&["max-age=5 minutes"], None, None),
            (&["max-age"], None, None),
            (&["max-age="], None, None),
            (&["max-age=300, max-age=x"], None, None),
            (&["s-maxage=300"], None, None),
            (&["x-max-age=300"], None, None),
            (&["no-cache, max-age=300"], None, None),
            (&["no-cache=\"set-cookie\", max-age=300"], None, None),
            (&["max-age=300", "no-store"], None, None),
            (&["", ",,"], None, None),
            (&[], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in cache_control {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_str(age).unwrap());
            }
            assert_eq!(fresh_for(&headers), expected.map(Duration::from_secs), "{cache_control:?} {age:?}");
        }
    }
}
