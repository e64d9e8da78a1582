//! Sealing: what we keep in a store or in a browser can be neither read nor changed there.
//!
//! 1. AES-256-GCM-SIV (RFC 8452): a nonce that ever came twice would only show that two contents are equal.
//! 2. Each seal has a key of its own: HKDF-SHA256 (RFC 5869) of a key of the ring, salted with a secret that only the
//!    holder of the sealed thing has. Neither the ring nor the secret opens anything alone.
//! 3. A seal is bound to what it is, to the cookie's name, to the origin and to its own id: put in another's place it does
//!    not open.
//! 4. The newest key of the ring seals, every one of them opens; so keys are exchanged without anybody being logged out.
//!
//! A sealed thing begins with its nonce, [`NONCE`] random bytes, by which two of them can be told apart.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};

/// How many bytes the nonce has, with which a sealed thing begins.
pub const NONCE: usize = NONCE_LEN;

/// How many bytes a blind name has.
pub const BLIND: usize = 32;

/// The keys that seal and open: at least one, the newest first.
#[derive(Clone)]
pub struct KeyRing(Vec<[u8; KeyRing::KEY]>);

impl fmt::Debug for KeyRing {
    /// How many there are, and none of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing of {}", self.0.len())
    }
}

/// What a seal is bound to.
#[derive(Clone, Copy)]
pub struct Bound<'a> {
    /// What is sealed, with the version of its form.
    pub what: &'static str,
    /// The name of the cookie that it belongs to.
    pub cookie: &'a str,
    /// The origin at which browsers send that cookie.
    pub origin: &'a str,
    /// What tells it from others of its kind.
    pub id: &'a [u8],
    /// What only its holder has.
    pub secret: &'a [u8],
}

impl KeyRing {
    /// How many bytes a key has.
    pub const KEY: usize = 32;

    /// A ring of the key that seals, and of further ones that open.
    pub fn new(newest: [u8; Self::KEY], older: impl IntoIterator<Item = [u8; Self::KEY]>) -> Self {
        Self(std::iter::once(newest).chain(older).collect())
    }

    /// Seals `content` with the newest key. `nonce` is random. None where it is longer than the cipher takes, some 64 GiB.
    pub fn seal(&self, content: &[u8], bound: &Bound<'_>, nonce: [u8; NONCE]) -> Option<Vec<u8>> {
        let key = bound.key(self.0.first()?)?;
        let mut sealed = content.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound.data()), &mut sealed).ok()?;
        sealed.splice(..0, nonce);
        Some(sealed)
    }

    /// What was sealed by a key of this ring and is bound to exactly that; else none, and nobody learns why.
    pub fn open(&self, sealed: &[u8], bound: &Bound<'_>) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.0.iter().find_map(|key| {
            let (key, mut content) = (bound.key(key)?, sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, Aad::from(bound.data()), &mut content).ok()?.len();
            content.truncate(length);
            Some(content)
        })
    }

    /// Names that stand for a text without telling it (HMAC-SHA-256): the first is the one to use, by the others it may have
    /// been called before keys were exchanged.
    pub fn blind<'a>(&'a self, parts: &'a [&'a str]) -> impl Iterator<Item = [u8; BLIND]> + 'a {
        self.0.iter().map(move |key| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
            parts.iter().for_each(|part| framed(part.as_bytes(), |bytes| context.update(bytes)));
            let mut name = [0; BLIND];
            name.copy_from_slice(context.sign().as_ref());
            name
        })
    }
}

impl Bound<'_> {
    fn key(&self, key: &[u8]) -> Option<LessSafeKey> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, self.secret).extract(key);
        let info = [self.what.as_bytes()];
        let key: UnboundKey = extracted.expand(&info, &AES_256_GCM_SIV).ok()?.into();
        Some(LessSafeKey::new(key))
    }

    /// The associated data.
    fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(128);
        for part in [self.what.as_bytes(), self.cookie.as_bytes(), self.origin.as_bytes(), self.id] {
            framed(part, |bytes| data.extend_from_slice(bytes));
        }
        data
    }
}

/// A part after its length: no two rows of parts read the same.
fn framed(part: &[u8], mut write: impl FnMut(&[u8])) {
    write(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    write(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound<'_> = Bound { what: "test 1", cookie: "c", origin: "https://a", id: b"id", secret: &[7; 32] };

    fn sealed(ring: &KeyRing) -> Vec<u8> {
        ring.seal(b"content", &BOUND, [9; NONCE]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_and_shows_nothing() {
        let ring = KeyRing::new([1; 32], []);
        let sealed = sealed(&ring);
        assert!(sealed.starts_with(&[9; NONCE]));
        assert!(!sealed.windows(7).any(|window| window == b"content"));
        assert_eq!(ring.open(&sealed, &BOUND).as_deref(), Some(&b"content"[..]));
    }

    #[test]
    fn it_opens_nowhere_else() {
        let ring = KeyRing::new([1; 32], []);
        let sealed = sealed(&ring);
        for (other, what) in [
            (Bound { what: "test 2", ..BOUND }, "of another kind"),
            (Bound { cookie: "d", ..BOUND }, "of another cookie"),
            (Bound { origin: "https://b", ..BOUND }, "at another origin"),
            (Bound { id: b"ie", ..BOUND }, "of another id"),
            (Bound { secret: &[8; 32], ..BOUND }, "of another holder"),
            // The border between two parts counts.
            (Bound { cookie: "ch", origin: "ttps://a", ..BOUND }, "cut elsewhere"),
        ] {
            assert_eq!(ring.open(&sealed, &other), None, "{what}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ring.open(&changed, &BOUND), None, "byte {at} changed");
            assert_eq!(ring.open(&sealed[..at], &BOUND), None, "cut at {at}");
        }
        assert_eq!(KeyRing::new([2; 32], []).open(&sealed, &BOUND), None, "another ring");
    }

    #[test]
    fn the_newest_key_seals_and_the_older_ones_open() {
        let (old, new) = (KeyRing::new([1; 32], []), KeyRing::new([2; 32], [[1; 32]]));
        assert!(new.open(&sealed(&old), &BOUND).is_some());
        assert!(old.open(&sealed(&new), &BOUND).is_none());
        assert!(KeyRing::new([2; 32], []).open(&sealed(&new), &BOUND).is_some());
    }

    #[test]
    fn a_blind_name_is_found_again_while_its_key_is_in_the_ring() {
        let named = |ring: &KeyRing, parts: &[&str]| ring.blind(parts).collect::<Vec<_>>();
        let (old, new) = (KeyRing::new([1; 32], []), KeyRing::new([2; 32], [[1; 32]]));
        let before = named(&old, &["sid", "1"]);
        assert_eq!(named(&new, &["sid", "1"])[1..], before[..]);
        assert_ne!(named(&new, &["sid", "1"])[0], before[0]);
        assert_ne!(named(&old, &["sid1", ""]), before);
    }
}
