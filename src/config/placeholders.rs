//! `${NAME}` in a value: other programs put a variable there, and this one does not.

use toml::de::DeValue;

use super::declare::Value;
use super::fault::Faults;

/// Warns of each string that has one: it is taken as it stands.
pub(super) fn placeholders(value: &Value<'_>, faults: &mut Faults) {
    match value.get_ref() {
        DeValue::String(text) => {
            if let Some(name) = placeholder(text) {
                let help = format!(
                    "write the value, or let `envsubst` write the file. A secret is named instead: `{{ env = \"{name}\" }}`, or \
                     `{{ file = \"...\" }}`, for `client_secret`, `private_key`, `hmac_secret`, `password` and `keys`"
                );
                faults.warn(
                    &value.span(),
                    format!("`${{{name}}}` stands here as it is: no variable is put in its place"),
                    help,
                );
            }
        }
        DeValue::Array(list) => list.iter().for_each(|value| placeholders(value, faults)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| placeholders(value, faults)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The name in the first `${NAME}` of a text.
fn placeholder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("${")?;
    let (name, _) = rest.split_once('}')?;
    // `${NAME:-default}` is one as well.
    let name = name.split([':', '-', '?']).next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(name)
}
