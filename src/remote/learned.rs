//! What an issuer says of itself, asked for when it is first needed, and again from time to time.
//!
//! 1. An answer is used for [`LIFE`]. After that one caller asks again, in half of the time that it has, because what the answer
//!    is needed for takes time, too. Whoever comes meanwhile goes on with what there is.
//! 2. Where the issuer cannot be asked again the answer stands on, and the next try comes after [`PAUSE`].
//! 3. Before there is an answer callers take turns, each within its own time, until one of them has it. For how long a failure
//!    then answers all is for the owner to say.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::{Clock, Monotonic};
use super::discovery::Fault;
use super::http::FetchError;

/// How long an answer is used before the issuer is asked again.
const LIFE: Duration = Duration::from_secs(300);

/// How long it is used on where the issuer could not be asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// What one issuer says of one thing.
#[derive(Debug)]
pub(super) struct Learned<T> {
    kept: Mutex<Kept<T>>,
    /// Whose turn it is to ask for the first time.
    turn: tokio::sync::Mutex<()>,
    /// For how long nobody asks after a first try that failed.
    rest: Duration,
}

#[derive(Debug)]
struct Kept<T> {
    /// The answer; a failure only where there was never one.
    outcome: Option<Result<T, Fault>>,
    /// Until when nobody asks anew.
    until: Monotonic,
}

/// What a caller finds.
enum Found<T> {
    /// It goes on with this.
    Known(Result<T, Fault>),
    /// It asks again, and has this where that fails.
    Old(T),
    /// It asks.
    Nothing,
}

impl<T: Clone> Learned<T> {
    pub(super) fn new(rest: Duration) -> Self {
        let kept = Kept { outcome: None, until: Monotonic::default() };
        Self { kept: Mutex::new(kept), turn: tokio::sync::Mutex::default(), rest }
    }

    /// The answer, which `ask` gets until the moment that it is told. Ends at `deadline`.
    ///
    /// # Errors
    ///
    /// There was never an answer, and is none now.
    pub(super) async fn get<F: Future<Output = Result<T, Fault>>>(
        &self,
        clock: &Clock,
        deadline: Monotonic,
        ask: impl FnOnce(Monotonic) -> F,
    ) -> Result<T, Fault> {
        let now = clock.now();
        match self.find(now) {
            Found::Known(outcome) => return outcome,
            Found::Old(answer) => {
                let again = ask(now.after(deadline.since(now) / 2)).await;
                return if again.is_ok() { self.keep(again, clock.now()) } else { Ok(answer) };
            }
            Found::Nothing => {}
        }
        let Ok(_turn) = clock.until(deadline, self.turn.lock()).await else {
            return Err(Fault::Fetch(FetchError::Timeout));
        };
        match self.find(clock.now()) {
            Found::Known(outcome) => outcome,
            Found::Old(answer) => Ok(answer),
            Found::Nothing => {
                let outcome = ask(deadline).await;
                self.keep(outcome, clock.now())
            }
        }
    }

    fn find(&self, now: Monotonic) -> Found<T> {
        // What it guards is whole after every step.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.outcome.clone() {
            Some(outcome) if now < kept.until => Found::Known(outcome),
            Some(Ok(answer)) => {
                kept.until = now.after(PAUSE);
                Found::Old(answer)
            }
            Some(Err(_)) | None => Found::Nothing,
        }
    }

    fn keep(&self, outcome: Result<T, Fault>, now: Monotonic) -> Result<T, Fault> {
        let until = now.after(if outcome.is_ok() { LIFE } else { self.rest });
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept { outcome: Some(outcome.clone()), until };
        outcome
    }
}
