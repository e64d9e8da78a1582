//! JSON as tokens and key sets hold it: read strictly, so that nobody else can read it differently.
//!
//! Refused are: input that is no JSON (RFC 8259), a lone surrogate, invalid UTF-8, a byte order mark, trailing bytes, and
//! nesting beyond a bound. A repeated member name is noted on its object, because a token that has one is refused
//! whole while in a key set only that key is lost.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Plain};

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that fits an integer of 64 bits or a double.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

/// An object: its members in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    members: Vec<(String, Json)>,
    repeated: bool,
}

impl Json {
    /// How many objects and arrays may stand within each other, the outermost included.
    pub const MAX_DEPTH: usize = 32;

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// Says what is wrong, for a sentence that begins with the name of what was read.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        // Seen to be UTF-8 once, and not string by string.
        let text = std::str::from_utf8(bytes).map_err(|_| "is not valid JSON")?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        // Our own bound is below serde_json's recursion limit of 128, so that the stack is safe either way.
        let value = Value { depth: Self::MAX_DEPTH }.deserialize(&mut deserializer).map_err(|error| {
            match error.classify() {
                serde_json::error::Category::Data => "is nested too deeply",
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => "is not valid JSON",
            }
        })?;
        deserializer.end().map_err(|_| "has bytes after its JSON value")?;
        Ok(value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// How many bytes of memory it holds beside its own place.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.capacity(),
            Self::Array(items) => {
                items.capacity() * size_of::<Self>() + items.iter().map(Self::held_bytes).sum::<usize>()
            }
            Self::Object(object) => object.held_bytes(),
        }
    }

    /// Whether an object, at any depth, has two members of one name (compared after unescaping).
    pub fn has_repeated_member(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => false,
            Self::Array(items) => items.iter().any(Self::has_repeated_member),
            Self::Object(object) => object.has_repeated_member(),
        }
    }
}

impl Object {
    /// Reads one object that has no repeated member at any depth.
    ///
    /// # Errors
    ///
    /// Says what is wrong, as [`Json::parse`] does.
    pub fn parse_strict(bytes: &[u8]) -> Result<Self, &'static str> {
        let Json::Object(object) = Json::parse(bytes)? else { return Err("is not a JSON object") };
        if object.has_repeated_member() {
            return Err("repeats a member name");
        }
        Ok(object)
    }

    /// An object of strings, whose names are different ones.
    pub fn of_strings<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let member = |(name, text): (&str, &str)| (name.to_owned(), Json::String(text.to_owned()));
        Self { members: members.into_iter().map(member).collect(), repeated: false }
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// Whether there is a member of that name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many bytes of memory it holds beside its own place.
    pub fn held_bytes(&self) -> usize {
        let places = self.members.capacity() * size_of::<(String, Json)>();
        places + self.members.iter().map(|(name, value)| name.capacity() + value.held_bytes()).sum::<usize>()
    }

    /// Whether this object, or one within it, has two members of one name.
    pub fn has_repeated_member(&self) -> bool {
        self.repeated || self.members.iter().any(|(_, value)| value.has_repeated_member())
    }
}

impl FromIterator<(String, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(members: I) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        let repeated = repeats(&members);
        Self { members, repeated }
    }
}

impl From<&Json> for Plain {
    /// For reports. Of members that are repeated the last one stays.
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Number(value.clone()),
            Json::String(value) => Self::String(value.clone()),
            Json::Array(items) => items.iter().map(Self::from).collect(),
            Json::Object(object) => object.iter().map(|(name, value)| (name.to_owned(), Self::from(value))).collect(),
        }
    }
}

impl fmt::Display for Json {
    /// Compact text for people: strings bare, the rest as JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (name, value)) in object.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Few members are compared in pairs; many are sorted, so that a large object costs no more than its size.
fn repeats(members: &[(String, Json)]) -> bool {
    if members.len() <= 16 {
        return members.iter().enumerate().any(|(at, (name, _))| members[..at].iter().any(|(other, _)| other == name));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Reads a value with `depth` levels left.
#[derive(Clone, Copy)]
struct Value {
    depth: usize,
}

impl Value {
    fn within<E: Error>(self) -> Result<Self, E> {
        Ok(Self { depth: self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))? })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let inner = self.within()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inner = self.within()?;
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value_seed(inner)?));
        }
        Ok(Json::Object(members.into_iter().collect()))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value { depth: Self::MAX_DEPTH }.deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for (text, expected) in [
            (b"{}".to_vec(), Ok(())),
            (br#"{"a":1,"b":{"a":2}}"#.to_vec(), Ok(())),
            (br#"{"a":1,"a":2}"#.to_vec(), Err("repeats a member name")),
            (br#"{"a":1,"\u0061":2}"#.to_vec(), Err("repeats a member name")),
            (br#"{"x":[{"a":1,"a":1}]}"#.to_vec(), Err("repeats a member name")),
            (b"[]".to_vec(), Err("is not a JSON object")),
            (b"\xef\xbb\xbf{}".to_vec(), Err("is not valid JSON")),
            (b"{} {}".to_vec(), Err("has bytes after its JSON value")),
            (b"{}\0".to_vec(), Err("has bytes after its JSON value")),
            (br#"{"a":"\ud800"}"#.to_vec(), Err("is not valid JSON")),
            (b"{\"a\":\"\xff\"}".to_vec(), Err("is not valid JSON")),
            (br#"{"a":1e400}"#.to_vec(), Err("is not valid JSON")),
            (br#"{"a":NaN}"#.to_vec(), Err("is not valid JSON")),
            (format!("{{\"a\":{}}}", deep(31)).into_bytes(), Ok(())),
            (format!("{{\"a\":{}}}", deep(32)).into_bytes(), Err("is nested too deeply")),
            (format!("{{\"a\":{}}}", deep(5000)).into_bytes(), Err("is nested too deeply")),
        ] {
            assert_eq!(Object::parse_strict(&text).map(|_| ()), expected, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn what_is_held_counts_every_place_and_text() {
        let held = |text: &str| Json::parse(text.as_bytes()).unwrap().held_bytes();
        assert_eq!(held("1"), 0);
        assert_eq!(held("\"abcd\""), 4);
        let place = size_of::<Json>();
        let many = format!("[{}1]", "1,".repeat(999));
        assert!((1000 * place..=2048 * place).contains(&held(&many)), "{}", held(&many));
        let member = size_of::<(String, Json)>();
        assert!(held("{\"name\":[\"text\"]}") >= member + 4 + place + 4);
    }

    #[test]
    fn repeated_members_are_found_among_many() {
        let members: Vec<String> = (0..100).map(|n| format!("\"m{n}\":{n}")).collect();
        assert!(!Json::parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap().has_repeated_member());
        assert!(Json::parse(format!("{{{},\"m7\":0}}", members.join(",")).as_bytes()).unwrap().has_repeated_member());
    }
}
