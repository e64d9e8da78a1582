//! "Did you mean": the known word that a wrong one is closest to.

/// How alike two words must be to be taken for a slip of the pen (0 to 1, Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// What to write instead of `word`: the nearest of `known`, or, when none is near, all of them.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() {
        return "none is defined in this file".to_owned();
    }
    match nearest(word, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .iter()
        .map(|known| (*known, strsim::jaro_winkler(&word, &plain(known))))
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn the_nearest_is_named() {
        let known = ["audience", "any_scope", "client_ids", "scopes"];
        for (word, near) in
            [("audiences", "audience"), ("scope", "scopes"), ("client-ids", "client_ids"), ("AUDIENCE", "audience")]
        {
            assert_eq!(suggest(word, known), format!("did you mean `{near}`?"));
        }
    }

    #[test]
    fn a_strange_word_gets_the_whole_list() {
        assert_eq!(suggest("zzz", ["one", "two"]), "known here: `one`, `two`");
        assert_eq!(suggest("zzz", []), "none is defined in this file");
    }
}
