//! How an explanation is told: a line per step, for people, or one JSON object.
//!
//! The refusal that the caller gets is told as such, with its cure; the others are those that it hides. Where a route has
//! several policies, each is told for itself, after what is judged once for all of them. What a token says is marked
//! `unverified` unless its signature was checked and holds.

use std::borrow::Cow;
use std::fmt;

use http::Request;
use serde_json::{Value, json};

use crate::cli::token_text::Fault;
use crate::gateway::is_cured_by_login;
use crate::gateway::respond::{Asked, challenge};
use crate::policy::decision::Refused;
use crate::policy::policies::Policies;
use crate::policy::reject::{Facts, Reject, Step};

/// What one step came to.
enum Verdict {
    /// It lets the request go on.
    Passed(String),
    /// It refuses. What it says of the token is a fact only where the signature holds.
    Refused(Reject, Standing),
    /// It could not be taken: why, and what helps beyond that.
    Skipped(Cow<'static, str>, Option<&'static str>),
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

/// Steps of the decision in their order.
#[derive(Default)]
pub(super) struct Steps(Vec<(Step, Verdict)>);

impl Steps {
    /// A step that lets the request go on, and what it saw.
    pub(super) fn passed(&mut self, step: Step, saw: String) {
        self.0.push((step, Verdict::Passed(saw)));
    }

    /// A step that refuses.
    pub(super) fn refused(&mut self, step: Step, reject: Reject) {
        self.0.push((step, Verdict::Refused(reject, Standing::Told)));
    }

    /// A step that could not be taken.
    pub(super) fn skipped(&mut self, step: Step, why: &'static str) {
        self.0.push((step, Verdict::Skipped(Cow::Borrowed(why), None)));
    }

    /// The same, with what the operator can do about it.
    pub(super) fn unseen(&mut self, step: Step, why: impl Into<Cow<'static, str>>, help: &'static str) {
        self.0.push((step, Verdict::Skipped(why.into(), Some(help))));
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
        self.0.push((step, verdict));
    }

    fn refusals(&self) -> impl Iterator<Item = (Step, &Reject)> {
        self.0.iter().filter_map(|(step, verdict)| match verdict {
            Verdict::Refused(reject, _) => Some((*step, reject)),
            Verdict::Passed(_) | Verdict::Skipped(..) => None,
        })
    }

    /// As the gateway sees them, which stops at the first refusal.
    fn verdict(&self) -> Result<(), Refused> {
        match self.refusals().next() {
            None => Ok(()),
            Some((step, reject)) => Err(Refused { step, reject: reject.clone() }),
        }
    }

    /// Why a step was not taken that might refuse before all that did.
    fn open(&self) -> Option<&str> {
        let first = self.0.iter().find(|(_, verdict)| !matches!(verdict, Verdict::Passed(_)));
        match first {
            Some((_, Verdict::Skipped(why, _))) => Some(why),
            Some((_, Verdict::Passed(_) | Verdict::Refused(..))) | None => None,
        }
    }
}

/// The decision as it is told.
pub(super) struct Explanation {
    request: String,
    /// Whether it is of gRPC, and refused in its terms.
    grpc: bool,
    /// What stood around the token in its file.
    around: Vec<Fault>,
    /// What is judged once.
    pub(super) steps: Steps,
    /// What each policy judges, by its name.
    pub(super) policies: Vec<(String, Steps)>,
    /// Whether a refusal is let through.
    pub(super) shadow: bool,
    /// The login to which the user is sent instead of a refusal that a login would cure.
    pub(super) login: Option<String>,
    /// Whether the token is of a session that gets another one where that may cure a refusal.
    pub(super) renewable: bool,
}

impl Explanation {
    /// Begins with the request that is asked about, without its query: that may hold a credential.
    pub(super) fn of(request: &Request<()>) -> Self {
        Self {
            request: format!("{} {}", request.method(), request.uri().path()),
            grpc: Asked::by(request).is_grpc(),
            around: Vec::new(),
            steps: Steps::default(),
            policies: Vec::new(),
            shadow: false,
            login: None,
            renewable: false,
        }
    }

    /// The status that a refusal comes with, and that of gRPC where the request is of it.
    fn statuses(&self, facts: &Facts) -> (u16, Option<u8>) {
        if self.grpc { (200, Some(facts.grpc)) } else { (facts.status, None) }
    }

    /// The challenge that a refusal comes with; gRPC has none.
    fn challenge(&self, reject: &Reject) -> Option<String> {
        challenge(reject).filter(|_| !self.grpc)?.to_str().ok().map(str::to_owned)
    }

    /// The same of a token around which all this stood in its file.
    pub(super) fn with(mut self, around: Vec<Fault>) -> Self {
        self.around = around;
        self
    }

    /// After a step without which nothing further can be told.
    pub(super) fn ending(mut self, step: Step, reject: Reject) -> Self {
        self.steps.refused(step, reject);
        self
    }

    /// The refusal that the caller gets.
    fn refusal(&self) -> Option<Reject> {
        let once = self.steps.verdict().map_err(|refused| refused.reject);
        once.and_then(|()| self.by_policies()).err()
    }

    fn by_policies(&self) -> Result<(), Reject> {
        if self.policies.is_empty() {
            return Ok(());
        }
        Policies::settle(self.policies.iter().map(|(_, steps)| steps.verdict()))
    }

    /// The codes of the refusals that the first one hides; of several policies those of the one that came furthest.
    fn hidden(&self) -> Vec<&'static str> {
        let told = self.by_policies().err();
        let furthest =
            self.policies.iter().find(|(_, steps)| steps.verdict().err().map(|refused| refused.reject) == told);
        let furthest = furthest.filter(|_| told.is_some()).into_iter().flat_map(|(_, steps)| steps.refusals());
        self.steps.refusals().chain(furthest).skip(1).map(|(_, reject)| reject.code().facts().name).collect()
    }

    /// Whether the gateway would let the request pass.
    pub(super) fn permits(&self) -> bool {
        self.shadow || self.refusal().is_none() && self.steps.open().is_none()
    }

    /// Where the user is sent instead of that refusal.
    fn sent_to(&self, reject: &Reject) -> Option<&str> {
        self.login.as_deref().filter(|_| is_cured_by_login(reject.code()))
    }

    /// Whether the gateway has the token renewed before it refuses it so, and judges the other one.
    fn is_renewed_first(&self, reject: &Reject) -> bool {
        self.renewable && reject.is_cured_by_refresh()
    }

    /// One object for machines.
    pub(super) fn json(&self) -> Value {
        let once = self.steps.0.iter().map(|(step, verdict)| entry(*step, verdict));
        let by_policy = self.policies.iter().flat_map(|(name, steps)| {
            steps.0.iter().map(move |(step, verdict)| {
                let mut entry = entry(*step, verdict);
                entry["policy"] = json!(name);
                entry
            })
        });
        let refusal = self.refusal();
        let refusal = refusal.as_ref();
        let location = refusal.and_then(|reject| self.sent_to(reject));
        let refused = refusal.filter(|_| location.is_none());
        let answered = refused.map(|reject| self.statuses(&reject.code().facts()));
        json!({
            "request": self.request,
            "text": self.around.iter().map(|fault| json!({ "what": fault.what(), "cure": fault.cure() })).collect::<Vec<_>>(),
            "permitted": self.permits(),
            "shadow": self.shadow,
            "code": refusal.map(|reject| reject.code().facts().name),
            "status": location.map(|_| 302).or(answered.map(|(status, _)| status)),
            "grpc_status": answered.and_then(|(_, grpc)| grpc),
            "location": location,
            "renewed_first": refusal.is_some_and(|reject| self.is_renewed_first(reject)),
            "www_authenticate": refused.and_then(|reject| self.challenge(reject)),
            "steps": once.chain(by_policy).collect::<Vec<_>>(),
        })
    }
}

fn entry(step: Step, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Passed(saw) => json!({ "step": step.name(), "verdict": "passed", "saw": saw }),
        Verdict::Skipped(why, help) => {
            json!({ "step": step.name(), "verdict": "skipped", "saw": why, "help": help })
        }
        Verdict::Refused(reject, standing) => json!({
            "step": step.name(),
            "verdict": "refused",
            "code": reject.code().facts().name,
            "saw": format!("{}{}", reject.cause(), standing.note()),
            "help": reject.help(),
        }),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusal = self.refusal();
        // The one that the caller gets is marked once, though two policies may say the same.
        let mut told = refusal.as_ref();
        let other = if told.is_some() { "also   " } else { "no     " };
        writeln!(f, "{}\n", self.request)?;
        for fault in &self.around {
            writeln!(f, "  note     {:<20} {}; it is taken off here", "token file", fault.what())?;
            writeln!(f, "           {:<20} cure: {}", "", fault.cure())?;
        }
        lines(f, &self.steps, &mut told, other)?;
        for (name, steps) in &self.policies {
            if self.policies.len() > 1 {
                writeln!(f, "\n  policy {name}")?;
            }
            lines(f, steps, &mut told, other)?;
        }
        self.conclude(f, refusal.as_ref())
    }
}

/// A line per step; `other` marks the refusals that are not the one the caller gets.
fn lines(f: &mut fmt::Formatter<'_>, steps: &Steps, told: &mut Option<&Reject>, other: &str) -> fmt::Result {
    for (step, verdict) in &steps.0 {
        match verdict {
            Verdict::Passed(saw) => writeln!(f, "  ok       {:<20} {saw}", step.name())?,
            Verdict::Skipped(why, help) => {
                writeln!(f, "  -        {:<20} not taken: {why}", step.name())?;
                if let Some(help) = help {
                    writeln!(f, "           {:<20} cure: {help}", "")?;
                }
            }
            Verdict::Refused(reject, standing) => {
                let mark = if told.take_if(|told| *told == reject).is_some() { "REFUSED" } else { other };
                let (cause, note) = (reject.cause(), standing.note());
                writeln!(f, "  {mark}  {:<20} {}: {cause}{note}", step.name(), reject.code())?;
                writeln!(f, "           {:<20} cure: {}", "", reject.help())?;
            }
        }
    }
    Ok(())
}

impl Explanation {
    /// The last lines: what the caller gets, and what would still be in the way.
    fn conclude(&self, f: &mut fmt::Formatter<'_>, refusal: Option<&Reject>) -> fmt::Result {
        let Some(reject) = refusal else {
            return match self.steps.open().filter(|_| !self.permits()) {
                None => writeln!(f, "\npermitted"),
                Some(why) => writeln!(f, "\nnot decided, though nothing refuses: {why}"),
            };
        };
        let facts = reject.code().facts();
        let shadow = if self.shadow { "let through, in shadow mode; enforced it would be " } else { "" };
        let (status, grpc) = self.statuses(&facts);
        let grpc = grpc.map(|grpc| format!(" with grpc-status {grpc},")).unwrap_or_default();
        writeln!(f, "\n{shadow}refused: {status}{grpc} {}", facts.name)?;
        if let Some(login) = self.sent_to(reject) {
            writeln!(f, "a user who goes to a page is sent to the login instead: 302 {login}")?;
        } else if let Some(challenge) = self.challenge(reject) {
            writeln!(f, "WWW-Authenticate: {challenge}")?;
        }
        if self.is_renewed_first(reject) {
            writeln!(
                f,
                "unless the issuer grants the session another token: the gateway asks for one first, and judges that"
            )?;
        }
        if let Some(why) = self.steps.open() {
            writeln!(f, "unless a step that was not taken refuses it first: {why}")?;
        }
        let hidden = self.hidden();
        if !hidden.is_empty() {
            writeln!(f, "once that is cured, still in the way: {}", hidden.join(", "))?;
        }
        Ok(())
    }
}
