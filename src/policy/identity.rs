//! The identity fields by which an upstream is told who calls.
//!
//! They tell claims of a proven token, each so that two different values of one type never look alike (but that an array of
//! one empty text looks like an empty one). Which requests get them, and
//! that nobody else's copies survive, is the business of [`headers`](super::headers).

use http::{HeaderName, HeaderValue};

use super::claims::{ClaimPath, Claims};
use super::json::Json;

/// A header by which an upstream is told a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityHeader {
    /// The header.
    pub name: HeaderName,
    /// The claim.
    pub claim: ClaimPath,
}

impl IdentityHeader {
    /// The value that is sent; none where the token does not have the claim.
    ///
    /// Strings, numbers and booleans are their text. The items of an array are joined with `,`, those of a scope claim
    /// (`scope`, `scp`) with a blank. In the text `%`, everything outside printable ASCII, a blank at either end and, in
    /// an item, the separator are percent-encoded as UTF-8 (RFC 3986 section 2.1), so that decoding gives back the claim.
    ///
    /// # Errors
    ///
    /// Says why it cannot be sent: a control character, null, an object, or an array of other than scalars.
    pub fn value(&self, claims: &Claims) -> Result<Option<HeaderValue>, &'static str> {
        self.claim.find(claims).map(|value| claim_value(&self.claim, value)).transpose()
    }
}

fn claim_value(claim: &ClaimPath, value: &Json) -> Result<HeaderValue, &'static str> {
    let text = match value {
        Json::Array(items) => {
            let separator = if claim.is("scope") || claim.is("scp") { ' ' } else { ',' };
            let items: Result<Vec<_>, _> = items.iter().map(|item| encode(&scalar(item)?, Some(separator))).collect();
            items?.join(separator.encode_utf8(&mut [0; 4]))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
            encode(&scalar(value)?, None)?
        }
    };
    HeaderValue::try_from(text).map_err(|_| "cannot be sent as a header")
}

fn scalar(value: &Json) -> Result<String, &'static str> {
    match value {
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Err("is sent to the upstream and is not a string, number or boolean, or an array of them")
        }
    }
}

fn encode(text: &str, separator: Option<char>) -> Result<String, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("is sent to the upstream and has a control character");
    }
    let last = text.len().saturating_sub(1);
    let mut encoded = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let edge = byte == b' ' && (at == 0 || at == last);
        let separates = separator.is_some_and(|separator| char::from(byte) == separator);
        if byte == b'%' || !(0x20..=0x7e).contains(&byte) || edge || separates {
            encoded.push('%');
            encoded.extend(
                [byte >> 4, byte & 0xf]
                    .into_iter()
                    .filter_map(|digit| char::from_digit(digit.into(), 16))
                    .map(|digit| digit.to_ascii_uppercase()),
            );
        } else {
            encoded.push(char::from(byte));
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_written_so_that_two_never_look_alike() {
        for (path, claim, expected) in [
            ("c", r#""alice""#, Ok("alice")),
            ("c", r#""J\u00fcrgen""#, Ok("J%C3%BCrgen")),
            ("c", r#""J%C3%BCrgen""#, Ok("J%25C3%25BCrgen")),
            ("c", r#"" a b ""#, Ok("%20a b%20")),
            ("c", r#""a,b""#, Ok("a,b")),
            ("c", r#"["a,b","c"]"#, Ok("a%2Cb,c")),
            ("scope", r#"["read","write"]"#, Ok("read write")),
            ("c", "[1,true]", Ok("1,true")),
            ("c", "[]", Ok("")),
            ("c", "42", Ok("42")),
            ("c", r#""a\r\nb""#, Err(CONTROL)),
            ("c", r#""a\u0000""#, Err(CONTROL)),
            ("c", r#""a\u007f""#, Err(CONTROL)),
            ("c", "null", Err(SHAPE)),
            ("c", r#"{"a":1}"#, Err(SHAPE)),
            ("c", "[[1]]", Err(SHAPE)),
        ] {
            let json = Json::parse(claim.as_bytes()).unwrap();
            let value = claim_value(&ClaimPath::parse(path).unwrap(), &json);
            assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()).map_err(|why| *why), expected, "{claim}");
        }
    }

    const CONTROL: &str = "is sent to the upstream and has a control character";
    const SHAPE: &str = "is sent to the upstream and is not a string, number or boolean, or an array of them";
}
