//! What time it is where an answer came from (RFC 9110 section 6.6.1).
//!
//! A cache on the way keeps the `Date` of the answer and counts its `Age` (RFC 9111 section 5.1), so both together are now.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderName};

/// The time by the server's clock, in whole seconds; `None` where these header fields do not say.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let date = jiff::fmt::rfc2822::parse(text(DATE)?).ok()?;
    let age = text(AGE).and_then(|age| age.parse().ok()).unwrap_or_default();
    SystemTime::from(date.timestamp()).checked_add(Duration::from_secs(age))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_date_of_a_cached_answer_is_aged() {
        for (date_text, age, expected) in [
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), None, Some(784_111_777)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("60"), Some(784_111_837)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("soon"), Some(784_111_777)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("18446744073709551615"), None),
            (Some("yesterday"), None, None),
            (Some("1994-11-06T08:49:37Z"), None, None),
            (None, Some("60"), None),
        ] {
            let fields = [(DATE, date_text), (AGE, age)];
            let fields = fields.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_static(text?))));
            let expected = expected.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(date(&fields.collect()), expected, "{date_text:?} {age:?}");
        }
    }
}
