//! From what somebody pasted to the token in it: what is wrong with the text, and what to do about it.
//!
//! What stands around a token is taken off layer by layer, and each layer is a fault: a gateway takes none of them. One
//! line break at the end is an editor's and none.

use std::borrow::Cow;

/// A token, and what was wrong with the text that held it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The token, freed of everything that is not part of one.
    pub(super) token: String,
    /// What was wrong, in the order in which it was mended.
    pub(super) faults: Vec<Fault>,
}

/// Something that is wrong with the text of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The issuer's whole answer: the member that was taken, and what else is in it.
    Answer {
        /// The member whose value is looked at.
        taken: &'static str,
        /// Whether there is another token in it.
        others: bool,
    },
    /// The issuer's answer, which is an error.
    Error,
    /// Form fields such as `access_token=...&token_type=...`.
    Form,
    /// The name of the header stands in front.
    Field,
    /// The scheme stands in front.
    Scheme,
    /// Quotation marks stand around it.
    Quoted,
    /// Characters of it are percent-encoded.
    PercentEncoded,
    /// Several words, of which each looks like a token.
    Several(usize),
    /// Blanks or line breaks stand at its ends.
    Ends,
    /// Blanks or line breaks stand within it.
    Within,
    /// `=` stands at the end of a part.
    Padding,
    /// `+` or `/` stands in a part.
    Alphabet,
    /// A character that no token has.
    Foreign(char),
}

impl Fault {
    /// What is wrong.
    pub(super) fn what(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Answer { taken, others: false } => {
                return format!("it is the issuer's whole answer in JSON; `{taken}` of it is looked at").into();
            }
            Self::Answer { taken, others: true } => {
                return format!(
                    "it is the issuer's whole answer in JSON, with several tokens; `{taken}` of it is looked at"
                )
                .into();
            }
            Self::Error => "it is an error of the issuer in JSON",
            Self::Form => "it is a form or the end of a URL; `access_token` of it is looked at",
            Self::Field => "the header's name stands in front",
            Self::Scheme => "`Bearer ` stands in front",
            Self::Quoted => "quotation marks stand around it",
            Self::PercentEncoded => "it is percent-encoded, as in a URL",
            Self::Several(count) => return format!("it holds {count} tokens; the first is looked at").into(),
            Self::Ends => "blanks or line breaks stand at its ends",
            Self::Within => "blanks or line breaks stand within it",
            Self::Padding => "`=` stands at the end of a part (base64 with padding)",
            Self::Alphabet => "`+` or `/` stands in a part (plain base64)",
            Self::Foreign(char) => {
                return format!("it holds U+{:04X}, a character that no token has", u32::from(*char)).into();
            }
        })
    }

    /// What to do about it.
    pub(super) fn cure(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "send the value of `access_token` alone, without its quotation marks",
            Self::Error => "see its `error` and `error_description`: the issuer gave no token",
            Self::Form => "send the value of `access_token` alone, decoded",
            Self::Field => "put the token alone into the file; it is sent as `Authorization: Bearer TOKEN`",
            Self::Scheme => "put the token alone into the file; `Bearer ` is written once, where the header is made",
            Self::Quoted => "take them off; with jq, `-r` writes a string without them",
            Self::PercentEncoded => "decode it once where it is taken from the URL, and send it as it is in the header",
            Self::Several(_) => "send one of them",
            Self::Ends => "take them off; `tr -d '[:space:]'` does it",
            Self::Within => "join it again without them: it was wrapped where it was printed or copied",
            Self::Padding => "leave it out: the parts of a token are base64url without padding (RFC 7515 section 2)",
            Self::Alphabet => {
                "encode with `-` and `_` instead: the parts of a token are base64url (RFC 7515 section 2)"
            }
            Self::Foreign(_) => "copy it again from where it is whole: it was shortened or decorated",
        }
    }
}

/// Finds the token in a text, and mends it.
pub(super) fn find(text: &str) -> Found {
    let Found { token: rest, mut faults } = unwrap(text);
    let mut token = one_word(&rest, &mut faults);
    if is_jws(&token) {
        token = in_base64url(&token, &mut faults);
    }
    faults.extend(token.chars().find(|char| !is_of_a_token(*char)).map(Fault::Foreign));
    Found { token, faults }
}

/// Takes off a text what stands around the token; what stands within it is as it was.
pub(super) fn unwrap(text: &str) -> Found {
    let mut faults = Vec::new();
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let mut rest = trimmed(line, &mut faults);
    // Each layer makes it shorter; a text of more layers than this is none that a person made.
    for _ in 0..8 {
        let Some(inner) = peeled(&rest, &mut faults) else { break };
        rest = inner.trim_matches(is_blank).to_owned();
    }
    Found { token: rest, faults }
}

/// What is a blank to the eye, or nothing at all.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\u{200b}' | '\u{feff}' | '\u{2060}' | '\0')
}

fn trimmed(line: &str, faults: &mut Vec<Fault>) -> String {
    let inner = line.trim_matches(is_blank);
    if inner.len() < line.len() && !inner.is_empty() {
        faults.push(Fault::Ends);
    }
    inner.to_owned()
}

/// What stands within the outermost layer.
fn peeled(text: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let (inner, fault) = answer(text)
        .or_else(|| after_word(text, "authorization:").map(|inner| (inner, Fault::Field)))
        .or_else(|| after_word(text, "bearer ").map(|inner| (inner, Fault::Scheme)))
        .or_else(|| unquoted(text).map(|inner| (inner, Fault::Quoted)))
        .or_else(|| form(text).map(|inner| (inner, Fault::Form)))
        .or_else(|| percent_decoded(text).map(|inner| (inner, Fault::PercentEncoded)))?;
    faults.push(fault);
    Some(inner)
}

/// A token response (RFC 6749 section 5.1): the access token, or else whatever token there is; nothing of an error.
fn answer(text: &str) -> Option<(String, Fault)> {
    let answer: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let mut tokens = ["access_token", "id_token", "refresh_token"]
        .into_iter()
        .filter_map(|name| Some((name, answer.get(name)?.as_str()?.to_owned())));
    let Some((taken, token)) = tokens.next() else {
        // RFC 6749 section 5.2.
        return answer.contains_key("error").then(|| (String::new(), Fault::Error));
    };
    Some((token, Fault::Answer { taken, others: tokens.next().is_some() }))
}

fn after_word(text: &str, word: &str) -> Option<String> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| text[word.len()..].to_owned())
}

fn unquoted(text: &str) -> Option<String> {
    // A comma or semicolon is left behind where a line of JSON or code was copied.
    let text = text.trim_end_matches([',', ';']);
    [('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('\u{201c}', '\u{201d}')]
        .iter()
        .find_map(|(left, right)| text.strip_prefix(*left)?.strip_suffix(*right))
        .map(str::to_owned)
}

/// The fragment of an implicit answer (RFC 6749 section 4.2.2), a form, or a URL that ends in either.
fn form(text: &str) -> Option<String> {
    let fields = text.rsplit(['?', '#']).next()?;
    let mut fields = url::form_urlencoded::parse(fields.as_bytes());
    fields.find(|(name, _)| name == "access_token").map(|(_, token)| token.into_owned())
}

fn percent_decoded(text: &str) -> Option<String> {
    let encoded = text
        .split('%')
        .skip(1)
        .any(|rest| rest.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())));
    // `+` is a character of tokens that are opaque, and no blank here.
    let kept = text.replace('+', "%2B");
    let name = format!("t={}", kept.replace('&', "%26"));
    let decoded = url::form_urlencoded::parse(name.as_bytes()).next().map(|(_, value)| value.into_owned());
    decoded.filter(|_| encoded)
}

fn one_word(text: &str, faults: &mut Vec<Fault>) -> String {
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first, ..] if words.iter().all(|word| is_jws(word)) => {
            faults.push(Fault::Several(words.len()));
            (*first).to_owned()
        }
        _ => {
            faults.push(Fault::Within);
            words.concat()
        }
    }
}

/// Three parts, of which the first two say something.
fn is_jws(word: &str) -> bool {
    let parts: Vec<_> = word.split('.').collect();
    matches!(parts.as_slice(), [header, payload, _] if !header.is_empty() && !payload.is_empty())
}

fn in_base64url(token: &str, faults: &mut Vec<Fault>) -> String {
    let mut token = token.to_owned();
    if token.split('.').any(|part| part.ends_with('=')) {
        faults.push(Fault::Padding);
        token = token.split('.').map(|part| part.trim_end_matches('=')).collect::<Vec<_>>().join(".");
    }
    if token.contains(['+', '/']) {
        faults.push(Fault::Alphabet);
        token = token.replace('+', "-").replace('/', "_");
    }
    token
}

/// RFC 6750 section 2.1, `b64token`.
fn is_of_a_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_' | '~' | '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln";

    fn check(text: &str, faults: &[Fault]) {
        let found = find(text);
        assert_eq!((found.token.as_str(), found.faults.as_slice()), (TOKEN, faults), "{text:?}");
    }

    #[test]
    fn what_stands_around_a_token_is_named_and_taken_off() {
        let answer = |taken, others| Fault::Answer { taken, others };
        let alone = format!("{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}");
        let several = format!("{{\"id_token\":\"x\",\n \"access_token\": \"{TOKEN}\"}}\n");
        let id = format!("{{\"id_token\":\"{TOKEN}\"}}");
        check(TOKEN, &[]);
        check(&format!("{TOKEN}\n"), &[]);
        check(&format!("{TOKEN}\r\n"), &[]);
        check(&format!("{TOKEN}\n\n"), &[Fault::Ends]);
        check(&format!(" {TOKEN}"), &[Fault::Ends]);
        check(&format!("\u{feff}{TOKEN}\n"), &[Fault::Ends]);
        check(&format!("Bearer {TOKEN}"), &[Fault::Scheme]);
        check(&format!("bearer  {TOKEN}\n"), &[Fault::Scheme]);
        check(&format!("Authorization: Bearer {TOKEN}"), &[Fault::Field, Fault::Scheme]);
        check(&format!("\"{TOKEN}\"\n"), &[Fault::Quoted]);
        check(&format!("'{TOKEN}',"), &[Fault::Quoted]);
        check(&format!("\"Bearer {TOKEN}\""), &[Fault::Quoted, Fault::Scheme]);
        check(&alone, &[answer("access_token", false)]);
        check(&several, &[answer("access_token", true)]);
        check(&id, &[answer("id_token", false)]);
        check(&format!("access_token={TOKEN}&token_type=Bearer"), &[Fault::Form]);
        check(&format!("https://app.example.com/cb#state=x&access_token={TOKEN}"), &[Fault::Form]);
        check(&TOKEN.replace('.', "%2E"), &[Fault::PercentEncoded]);
        check(&format!("Bearer%20{TOKEN}"), &[Fault::PercentEncoded, Fault::Scheme]);
    }

    #[test]
    fn what_stands_within_a_token_is_named_and_taken_out() {
        let (head, tail) = TOKEN.split_at(30);
        check(&format!("{head} {tail}"), &[Fault::Within]);
        check(&format!("{head}\n  {tail}\n"), &[Fault::Within]);
        check(&format!("{head}\u{200b}{tail}"), &[Fault::Within]);
        check(&TOKEN.replace(".c2ln", "==.c2ln="), &[Fault::Padding]);
        check(&format!("{TOKEN} {TOKEN}\n"), &[Fault::Several(2)]);
        assert_eq!(find("eyJ.a+b/.c").token, "eyJ.a-b_.c");
        assert_eq!(find("eyJ.a+b/.c").faults, [Fault::Alphabet]);
        assert_eq!(find("eyJhb\u{2026}.b.c").faults, [Fault::Foreign('\u{2026}')]);
    }

    #[test]
    fn an_error_of_the_issuer_holds_no_token() {
        let found = find(r#"{"error":"invalid_grant","error_description":"Code not valid"}"#);
        assert_eq!(found, Found { token: String::new(), faults: vec![Fault::Error] });
    }

    #[test]
    fn what_is_opaque_stays_as_it_is() {
        for token in ["", "2YotnFZFEjr1zCsicMWpAA", "a+b/c==", "ory_at_x.y", "a.b.c.d.e", "{}", "null"] {
            let found = find(token);
            let foreign = token.chars().find(|char| !is_of_a_token(*char)).map(Fault::Foreign);
            assert_eq!(found, Found { token: token.to_owned(), faults: foreign.into_iter().collect() });
        }
    }
}
