//! Which names of configurations have series, and which of those may go.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::labels::NONE;

/// How many names keep their counters after they left the configuration.
pub(super) const RETIRED: usize = 64;

/// A name that the configuration gives, as the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// The label.
    pub(super) label: &'static str,
    /// Its value.
    pub(super) text: String,
}

impl Name {
    pub(super) fn route(text: &str) -> Self {
        Self { label: "route", text: text.to_owned() }
    }

    pub(super) fn issuer(text: &str) -> Self {
        Self { label: "issuer", text: text.to_owned() }
    }

    pub(super) fn session(text: &str) -> Self {
        Self { label: "session", text: text.to_owned() }
    }

    pub(super) fn upstream(text: &str) -> Self {
        Self { label: "upstream", text: text.to_owned() }
    }
}

/// The names of the configuration in force, of those before it that still serve requests, and of some that have left.
///
/// What is done to series on the strength of that is done under its lock: nobody makes again what another one removes.
#[derive(Default)]
pub(super) struct Names(Mutex<State>);

#[derive(Default)]
struct State {
    in_force: HashSet<Name>,
    /// How many configurations that somebody still counts under have the name.
    used: HashMap<Name, usize>,
    /// Names that nobody counts under, the longest gone first.
    retired: VecDeque<Name>,
}

impl Names {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these names into force; `gone` hears of each that was in force and is no longer.
    pub(super) fn enter(&self, names: &[Name], gone: impl Fn(&Name)) {
        let mut state = self.state();
        for name in names {
            *state.used.entry(name.clone()).or_default() += 1;
        }
        let State { in_force, used, retired } = &mut *state;
        retired.retain(|name| !used.contains_key(name));
        let before = std::mem::replace(in_force, names.iter().cloned().collect());
        before.difference(in_force).for_each(gone);
    }

    /// One configuration less counts under these names; `forgotten` hears of each whose counters may go.
    pub(super) fn leave(&self, names: &[Name], forgotten: impl Fn(&Name)) {
        let mut state = self.state();
        for name in names {
            let Some(uses) = state.used.get_mut(name) else { continue };
            *uses -= 1;
            // What stands for "not known" is never forgotten, though somebody may have called a route so.
            if *uses == 0 && state.used.remove(name).is_some() && name.text != NONE {
                state.retired.push_back(name.clone());
            }
        }
        while state.retired.len() > RETIRED {
            state.retired.pop_front().iter().for_each(&forgotten);
        }
    }

    /// Does something with the series of a name, where that is in force.
    pub(super) fn if_in_force(&self, name: &Name, what: impl FnOnce()) {
        if self.state().in_force.contains(name) {
            what();
        }
    }

    /// Does something with the series of a name, where somebody still counts under it.
    pub(super) fn if_used(&self, name: &Name, what: impl FnOnce()) {
        if self.state().used.contains_key(name) {
            what();
        }
    }
}
