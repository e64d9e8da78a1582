//! Asking issuers about opaque tokens (RFC 7662), so that neither a crowd nor a flood reaches the issuer.
//!
//! 1. One token is asked about once at a time: whoever comes meanwhile gets the same answer, also when the first one leaves.
//! 2. An answer stands for `cache`, at most to the token's own end; "not active" for `negative_cache`. Remembered is the
//!    answer, found by a hash that is seeded at random and then by the whole token; it is judged anew for every request.
//! 3. At most `max_concurrent` calls are under way; a further token is refused as `overloaded`.
//! 4. An issuer that fails several times in a row is left alone for a moment, longer each time up to [`super::breaker::LONGEST`];
//!    then one call tries it. An issuer that says when to come again (429) is left alone until then.
//! 5. No answer that counts within `timeout` is `introspection_unavailable`: the token may be good, so it is a 503.
//!
//! What an answer means is said in [`crate::policy::introspection`]. Nothing here survives the process.

mod call;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use self::call::Judge;
use self::call::{Call, Trouble};
use super::breaker::Breaker;
use super::clock::{Clock, Monotonic};
use super::http::{Client, PlainHttp};
use crate::config::{Authorities, Introspection};
use crate::policy::introspection::Answer;
use crate::policy::reject::Reject;
use crate::telemetry::labels::IntrospectionResult;
use crate::telemetry::spans::CallSpan;

/// How many bytes answers may take, for each issuer.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// What is told of each call when it has ended.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// A call that has ended, or that was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// How it ended.
    pub result: IntrospectionResult,
    /// How long it took; none where it was not made.
    pub took: Option<Duration>,
}

/// Who is asked, and how. What equal ones were answered can be shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The issuer's configured name.
    pub name: String,
    /// Its own name for itself: the `iss` of its tokens.
    pub issuer: String,
    /// As the operator says.
    pub introspection: Introspection,
    /// Who vouches for it in TLS, where that is not whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
}

/// One issuer that is asked about opaque tokens. Clones are of the same.
#[derive(Clone)]
pub struct Introspector {
    memory: Arc<Memory>,
    call: Arc<Call>,
    clock: Clock,
    /// Where calls are made, whoever waits for them.
    control: Handle,
    observer: Observer,
}

/// What is known of one issuer's tokens, and how its calls stand.
struct Memory {
    source: Source,
    permits: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    answers: Cache<Arc<str>, Remembered>,
    under_way: Mutex<HashMap<Arc<str>, watch::Receiver<Option<Outcome>>>>,
}

type Outcome = Result<Arc<Answer>, Trouble>;

#[derive(Clone)]
struct Remembered {
    answer: Arc<Answer>,
    until: Monotonic,
}

impl Introspector {
    /// Asks `source` by `client`, on the runtime of `control`; signed answers are checked by `judge`. What was answered to one
    /// of `before` with the same source stands on.
    pub fn new<'b>(
        source: Source,
        judge: Judge,
        client: &Client,
        clock: &Clock,
        control: &Handle,
        observer: Observer,
        mut before: impl Iterator<Item = &'b Self>,
    ) -> Self {
        let same = before.find(|before| before.memory.source == source);
        let call = Arc::new(Call::new(&source, judge, client));
        let memory = same.map_or_else(|| Arc::new(Memory::new(source)), |same| Arc::clone(&same.memory));
        Self { memory, call, clock: clock.clone(), control: control.clone(), observer }
    }

    /// What the issuer says of that token: as remembered, or asked now. Where this has it asked, that is told by `span`. The
    /// caller may leave at any time, and may come from any runtime.
    ///
    /// # Errors
    ///
    /// `introspection_unavailable` or `overloaded`.
    pub async fn ask(&self, token: &str, span: Option<CallSpan>) -> Result<Arc<Answer>, Reject> {
        let now = self.clock.now();
        if let Some(answer) = self.memory.remembered(token, now) {
            return Ok(answer);
        }
        let outcome = match self.join(token, span, now)? {
            Joined::Remembered(answer) => return Ok(answer),
            Joined::UnderWay(mut told) => told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone()),
        };
        outcome.unwrap_or_else(|| Err(Trouble::broken_off())).map_err(|trouble| self.memory.unavailable(trouble))
    }

    /// The call about that token that is under way, or a new one.
    fn join(&self, token: &str, span: Option<CallSpan>, now: Monotonic) -> Result<Joined, Reject> {
        let memory = &self.memory;
        let mut under_way = locked(&memory.under_way);
        if let Some(told) = under_way.get(token) {
            return Ok(Joined::UnderWay(told.clone()));
        }
        // A call may have ended between the look at what is remembered and this one.
        if let Some(answer) = memory.remembered(token, now) {
            return Ok(Joined::Remembered(answer));
        }
        let Ok(permit) = Arc::clone(&memory.permits).try_acquire_owned() else {
            (self.observer)(Event { result: IntrospectionResult::Overloaded, took: None });
            return Err(Reject::Overloaded { what: "as many introspections are under way as `max_concurrent` allows" });
        };
        if let Err(again) = locked(&memory.breaker).admit(now, memory.source.introspection.timeout) {
            (self.observer)(Event { result: IntrospectionResult::LeftAlone, took: None });
            return Err(memory.unavailable(Trouble::left_alone(again)));
        }
        let token: Arc<str> = token.into();
        let (tell, told) = watch::channel(None);
        under_way.insert(Arc::clone(&token), told.clone());
        drop(self.control.spawn(self.clone().run(token, span, tell, permit)));
        Ok(Joined::UnderWay(told))
    }

    /// Makes one call to its end, whoever waits for it.
    async fn run(
        self,
        token: Arc<str>,
        span: Option<CallSpan>,
        tell: watch::Sender<Option<Outcome>>,
        permit: OwnedSemaphorePermit,
    ) {
        let leaving = Leaving { memory: &self.memory, token: &token };
        let begun = self.clock.now();
        let outcome = self.call.make(&token, span.as_ref().map(CallSpan::traceparent), &self.clock).await;
        let ended = self.clock.now();
        locked(&self.memory.breaker).ended(outcome.as_ref().err().map(|trouble| trouble.leave_alone), ended);
        let result = match &outcome {
            Ok(answer) if answer.is_active() => IntrospectionResult::Active,
            Ok(_) => IntrospectionResult::Inactive,
            Err(trouble) => trouble.result,
        };
        let took = ended.since(begun);
        (self.observer)(Event { result, took: Some(took) });
        if let Some(span) = span {
            span.introspected(&self.memory.source.name, result, self.clock.wall(), took);
        }
        let outcome = outcome.map(Arc::new);
        if let Ok(answer) = &outcome {
            self.memory.remember(&token, answer, ended, self.clock.wall());
        }
        drop(permit);
        // The answer is in place before the call is no longer under way: nobody asks in between.
        drop(leaving);
        tell.send_replace(Some(outcome));
    }
}

/// What a request for a token finds.
enum Joined {
    UnderWay(watch::Receiver<Option<Outcome>>),
    Remembered(Arc<Answer>),
}

/// Takes a call off the list when it ends, however it does.
struct Leaving<'a> {
    memory: &'a Memory,
    token: &'a Arc<str>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        locked(&self.memory.under_way).remove(self.token);
    }
}

impl Memory {
    fn new(source: Source) -> Self {
        let answers = Cache::builder().max_capacity(MAX_BYTES).weigher(weight);
        Self {
            permits: Arc::new(Semaphore::new(source.introspection.max_concurrent)),
            source,
            breaker: Mutex::default(),
            answers: answers.build_with_hasher(RandomState::new()),
            under_way: Mutex::default(),
        }
    }

    fn remembered(&self, token: &str, now: Monotonic) -> Option<Arc<Answer>> {
        self.answers.get(token).filter(|remembered| now < remembered.until).map(|remembered| remembered.answer)
    }

    fn remember(&self, token: &Arc<str>, answer: &Arc<Answer>, now: Monotonic, wall: SystemTime) {
        let Introspection { cache, negative_cache, .. } = self.source.introspection;
        let longest = if answer.is_active() { cache } else { negative_cache };
        let life = answer.expiry().map_or(longest, |exp| longest.min(until(exp.seconds(), wall)));
        if !life.is_zero() {
            self.answers.insert(Arc::clone(token), Remembered { answer: Arc::clone(answer), until: now.after(life) });
        }
    }

    fn unavailable(&self, trouble: Trouble) -> Reject {
        Reject::IntrospectionUnavailable {
            issuer: self.source.name.clone(),
            why: trouble.why,
            help: trouble.help,
            retry_after: trouble.leave_alone.as_secs().max(1),
        }
    }
}

/// The time from now to a date; none where it is over.
fn until(seconds: f64, now: SystemTime) -> Duration {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    Duration::try_from_secs_f64(seconds - now).unwrap_or(Duration::ZERO)
}

/// What a remembered answer takes: the token, what is said of it, and the entry itself, some hundred bytes.
fn weight(token: &Arc<str>, remembered: &Remembered) -> u32 {
    u32::try_from(token.len() + remembered.answer.claims().held_bytes() + 512).unwrap_or(u32::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Introspector").field(&self.memory.source.name).finish()
    }
}
