//! The value of a session's cookie: an id, and a secret that nothing but the cookie holds.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of the id.
const ID: usize = 16;
/// Bytes of the secret.
const SECRET: usize = 32;

/// What a session's cookie holds: proves who has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    id: [u8; ID],
    secret: [u8; SECRET],
}

impl fmt::Debug for Cookie {
    /// Without its value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie")
    }
}

impl Cookie {
    /// How many random bytes a new one takes.
    pub const RANDOM: usize = ID + SECRET;

    /// How long its value is: base64url without padding, nothing left over.
    pub const LENGTH: usize = Self::RANDOM / 3 * 4;

    /// A new one of bytes that nobody can guess.
    pub fn new(random: [u8; Self::RANDOM]) -> Self {
        let (mut id, mut secret) = ([0; ID], [0; SECRET]);
        id.copy_from_slice(&random[..ID]);
        secret.copy_from_slice(&random[ID..]);
        Self { id, secret }
    }

    /// Reads a value. None where it is none of ours; one of ours that was changed names no session, or opens none.
    pub fn parse(value: &str) -> Option<Self> {
        // Looked at first, so that a long one costs nothing.
        if value.len() != Self::LENGTH {
            return None;
        }
        URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok().map(Self::new)
    }

    /// The value.
    pub fn value(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.id[..], &self.secret[..]].concat())
    }

    /// The name of its session in a store: a hash of the id. From it nobody finds the cookie, nor who had one.
    pub fn place(&self) -> [u8; 32] {
        let mut place = [0; 32];
        place.copy_from_slice(digest(&SHA256, &self.id).as_ref());
        place
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.id
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written_and_in_no_other_form() {
        let cookie = Cookie::new(std::array::from_fn(|at| u8::try_from(at * 5 % 256).unwrap()));
        let value = cookie.value();
        assert_eq!(value.len(), Cookie::LENGTH);
        assert_eq!(Cookie::parse(&value), Some(cookie));
        for wrong in ["", "x", &value[1..], &format!("{value}A"), &format!("{}=", &value[1..]), &"A".repeat(100_000)] {
            assert_eq!(Cookie::parse(wrong), None);
        }
        assert_eq!(Cookie::parse(&format!("+{}", &value[1..])), None, "not of the alphabet");
    }

    #[test]
    fn the_place_hangs_on_the_id_alone() {
        let place = |at: usize| {
            let mut random = [0; Cookie::RANDOM];
            random[at] = 1;
            Cookie::new(random).place()
        };
        assert_ne!(place(0), place(ID - 1));
        assert_eq!(place(ID), place(Cookie::RANDOM - 1));
    }
}
