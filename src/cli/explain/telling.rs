//! How an explanation is told: a line per step, for people, or one JSON object.
//!
//! The first refusal is the one that the caller gets, with its cure; then come those that it hides. What a token says is
//! marked `unverified` unless its signature was checked and holds.

use std::fmt;

use serde_json::{Value, json};

use crate::gateway::respond::challenge;
use crate::policy::reject::{Reject, Step};

/// What one step came to.
enum Verdict {
    /// It lets the request go on.
    Passed(String),
    /// It refuses. What it says of the token is a fact only where the signature holds.
    Refused(Reject, Standing),
    /// It could not be taken.
    Skipped(&'static str),
}

/// What stands behind the words about a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The issuer's signature, or no token at all; or the refusal's own words say what is unverified.
    Told,
    /// Nobody.
    Unverified,
}

impl Standing {
    pub(super) fn note(self) -> &'static str {
        match self {
            Self::Told => "",
            Self::Unverified => " (unverified)",
        }
    }
}

/// The decision as it is told.
pub(super) struct Explanation {
    request: String,
    steps: Vec<(Step, Verdict)>,
}

impl Explanation {
    /// Begins with the request that is asked about, without its query: that may hold a credential.
    pub(super) fn of(request: String) -> Self {
        Self { request, steps: Vec::new() }
    }

    /// A step that lets the request go on, and what it saw.
    pub(super) fn passed(&mut self, step: Step, saw: String) {
        self.steps.push((step, Verdict::Passed(saw)));
    }

    /// A step that refuses.
    pub(super) fn refused(&mut self, step: Step, reject: Reject) {
        self.steps.push((step, Verdict::Refused(reject, Standing::Told)));
    }

    /// A step that could not be taken.
    pub(super) fn skipped(&mut self, step: Step, why: &'static str) {
        self.steps.push((step, Verdict::Skipped(why)));
    }

    /// A step that was taken; what it says of the token stands as `standing` says.
    pub(super) fn judged(
        &mut self,
        step: Step,
        verdict: Result<(), Reject>,
        standing: Standing,
        saw: impl FnOnce() -> String,
    ) {
        let verdict = verdict.map_or_else(|reject| Verdict::Refused(reject, standing), |()| Verdict::Passed(saw()));
        self.steps.push((step, verdict));
    }

    /// After a step without which nothing further can be told.
    pub(super) fn ending(mut self, step: Step, reject: Reject) -> Self {
        self.refused(step, reject);
        self
    }

    /// Every refusal, in order. The first is the one that the caller gets.
    fn refusals(&self) -> impl Iterator<Item = &Reject> {
        self.steps.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Refused(reject, _) => Some(reject),
            Verdict::Passed(_) | Verdict::Skipped(_) => None,
        })
    }

    /// Whether a step that was not taken might refuse before all that did.
    fn is_open(&self) -> bool {
        let first = self.steps.iter().find(|(_, verdict)| !matches!(verdict, Verdict::Passed(_)));
        matches!(first, Some((_, Verdict::Skipped(_))))
    }

    /// Whether every step was taken and let the request go on.
    pub(super) fn permits(&self) -> bool {
        self.steps.iter().all(|(_, verdict)| matches!(verdict, Verdict::Passed(_)))
    }

    /// One object for machines.
    pub(super) fn json(&self) -> Value {
        let steps = self.steps.iter().map(|(step, verdict)| match verdict {
            Verdict::Passed(saw) => json!({ "step": step.name(), "verdict": "passed", "saw": saw }),
            Verdict::Skipped(why) => json!({ "step": step.name(), "verdict": "skipped", "saw": why }),
            Verdict::Refused(reject, standing) => json!({
                "step": step.name(),
                "verdict": "refused",
                "code": reject.code().facts().name,
                "saw": format!("{}{}", reject.cause(), standing.note()),
                "help": reject.help(),
            }),
        });
        let refusal = self.refusals().next();
        json!({
            "request": self.request,
            "permitted": self.permits(),
            "code": refusal.map(|reject| reject.code().facts().name),
            "status": refusal.map(|reject| reject.code().facts().status),
            "www_authenticate": refusal.and_then(challenge).and_then(|value| value.to_str().ok().map(str::to_owned)),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        writeln!(f, "{}\n", self.request)?;
        for (step, verdict) in &self.steps {
            match verdict {
                Verdict::Passed(saw) => writeln!(f, "  ok       {:<20} {saw}", step.name())?,
                Verdict::Skipped(why) => writeln!(f, "  -        {:<20} not taken: {why}", step.name())?,
                Verdict::Refused(reject, standing) => {
                    let mark = if first { "REFUSED" } else { "also   " };
                    first = false;
                    let (cause, note) = (reject.cause(), standing.note());
                    writeln!(f, "  {mark}  {:<20} {}: {cause}{note}", step.name(), reject.code())?;
                    writeln!(f, "           {:<20} cure: {}", "", reject.help())?;
                }
            }
        }
        self.conclude(f)
    }
}

impl Explanation {
    /// The last lines: what the caller gets, and what would still be in the way.
    fn conclude(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut refusals = self.refusals();
        let Some(reject) = refusals.next() else {
            let verdict = if self.permits() { "permitted" } else { UNDECIDED };
            return writeln!(f, "\n{verdict}");
        };
        let facts = reject.code().facts();
        writeln!(f, "\nrefused: {} {}", facts.status, facts.name)?;
        if let Some(challenge) = challenge(reject).as_ref().and_then(|value| value.to_str().ok()) {
            writeln!(f, "WWW-Authenticate: {challenge}")?;
        }
        if self.is_open() {
            writeln!(f, "unless key or signature, which were not checked, refuse it first: ask with --online")?;
        }
        let others: Vec<_> = refusals.map(|reject| reject.code().facts().name).collect();
        if !others.is_empty() {
            writeln!(f, "once that is cured, still in the way: {}", others.join(", "))?;
        }
        Ok(())
    }
}

/// The verdict where nothing refused, and the one step that proves the token was not taken.
const UNDECIDED: &str = "not decided: the signature was not checked, all else would pass; ask with --online";
