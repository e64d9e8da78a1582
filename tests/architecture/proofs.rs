//! What the README claims of each system, and the tests it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bearward::policy::dialect::DIALECTS;

use crate::assert_none;
use crate::source::root;

/// A cell of the table of systems is `[how][test]`; what it leads to is in the place where such tests are.
#[test]
fn the_readmes_proofs_are_tests_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let tests: BTreeMap<&str, (&str, &str)> = readme.lines().filter_map(reference).collect();
    let (mut systems, mut led_to, mut faults) = (Vec::new(), BTreeSet::new(), Vec::new());
    let table = readme.lines().skip_while(|line| !line.starts_with("| system |")).skip(2);
    for row in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        systems.push(cells[0].split("docs/providers/").nth(1).unwrap().trim_end_matches(".md)").to_owned());
        for cell in cells[1..].iter().filter(|cell| **cell != "-") {
            let (how, test) = cell.trim_matches(['[', ']']).split_once("][").unwrap();
            led_to.insert(test);
            let Some((file, name)) = tests.get(test) else {
                faults.push(format!("{row}: no link is called {test}"));
                continue;
            };
            let place = match how {
                "real" => {
                    ["tests/gateway/keycloak/", "tests/gateway/hydra/", "tests/gateway/oidc_provider/"].as_slice()
                }
                "emulated" => &["src/demo/", "tests/gateway/sessions/providers.rs"],
                "corpus" => &["tests/gateway/kinds.rs"],
                other => panic!("{row}: nothing is proven by {other}"),
            };
            if !place.iter().any(|place| file.starts_with(place)) {
                faults.push(format!("{row}: {file} is not {how}"));
            }
            if !fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(&format!("fn {name}()"))) {
                faults.push(format!("{row}: {file} has no test {name}"));
            }
        }
    }
    assert_none(&faults);
    // RFC 9068 and `evidence` are no systems.
    let dialects = DIALECTS.iter().map(|dialect| dialect.name).filter(|name| !["rfc9068", "evidence"].contains(name));
    assert_eq!(systems, dialects.collect::<Vec<_>>());
    assert_eq!(led_to, tests.keys().copied().collect(), "a link that no cell uses");
}

/// A line `[name]: file "test"`.
fn reference(line: &str) -> Option<(&str, (&str, &str))> {
    let (name, target) = line.strip_prefix('[')?.split_once("]: ")?;
    let (file, test) = target.split_once(" \"")?;
    Some((name, (file, test.strip_suffix('"')?)))
}
