//! Durations and sizes as people write them: `250ms`, `30s`, `5m`, `12h`, `7d`; `16KiB`, `1MiB`.
//!
//! A number without a unit is refused rather than guessed, and so is `KB`, which some read as 1000 and some as 1024.

use std::time::Duration;

use super::fault::Wrong;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size(pub(super) u64);

/// A size in bytes, or `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeLimit(pub(super) Option<u64>);

/// Milliseconds of each unit of time.
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Bytes of each unit of size.
const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    amount(text, TIMES).map(Duration::from_millis).ok_or_else(|| {
        Wrong::new(
            format!("`{text}` is not a duration"),
            "write a whole number and one of the units ms, s, m, h, d: \"250ms\", \"30s\", \"5m\", \"7d\"",
        )
    })
}

/// Reads a size.
pub(super) fn size(text: &str) -> Result<Size, Wrong> {
    amount(text, SIZES).map(Size).ok_or_else(|| {
        Wrong::new(
            format!("`{text}` is not a size"),
            "write a whole number and one of the units B, KiB, MiB, GiB: \"16KiB\", \"1MiB\"",
        )
    })
}

/// Reads a size or `none`.
pub(super) fn size_limit(text: &str) -> Result<SizeLimit, Wrong> {
    if text == "none" {
        return Ok(SizeLimit(None));
    }
    size(text)
        .map(|Size(bytes)| SizeLimit(Some(bytes)))
        .map_err(|wrong| Wrong::new(wrong.what, format!("{}, or \"none\" for no limit", wrong.help)))
}

/// What a duration looks like, as a regular expression.
pub(super) fn duration_pattern() -> String {
    pattern(TIMES)
}

/// What a size looks like, as a regular expression.
pub(super) fn size_pattern() -> String {
    pattern(SIZES)
}

/// Writes a duration in the largest unit that holds it whole.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    text(millis, TIMES)
}

/// Writes a size in the largest unit that holds it whole.
pub(super) fn size_text(bytes: u64) -> String {
    text(bytes, SIZES)
}

fn pattern(units: &[(&str, u64)]) -> String {
    let units: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    format!("^[0-9]+({})$", units.join("|"))
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn text(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    let (unit, factor) = whole.or(units.first()).copied().unwrap_or(("", 1));
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("12h", 43_200_000), ("7d", 604_800_000), ("0ms", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        for text in [
            "",
            "30",
            "s",
            "30 s",
            "1h30m",
            "-1s",
            "+1s",
            "1.5s",
            "30S",
            "30sec",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("512B", 512), ("16KiB", 16_384), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648)] {
            assert_eq!(size(text), Ok(Size(bytes)), "{text}");
            assert_eq!(size_text(bytes), text);
        }
        for text in ["", "16", "16K", "16KB", "16kib", "KiB", "none", "1.5MiB", "18446744073709551615KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(size_limit("none"), Ok(SizeLimit(None)));
        assert_eq!(size_limit("1KiB"), Ok(SizeLimit(Some(1024))));
        assert!(size_limit("None").is_err());
    }
}
