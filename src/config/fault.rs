//! What is wrong with the file, collected.
//!
//! Every step of reading and building takes a [`Faults`] and adds to it, so that one look at the file finds all that is
//! wrong with it. Nothing here decides to stop: [`super::Config::load`] does, once, at the end.

use std::ops::Range;

use super::files::Files;

/// Where something stands in the file: a range of bytes.
pub(super) type Span = Range<usize>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Fault,
    /// The file is taken, and this is said at every start.
    Warning,
}

impl Severity {
    /// The word for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` when it is the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: String,
    /// The other places it is about, each with a word on its part.
    pub also: Vec<(Range<usize>, String)>,
}

impl Problem {
    /// Names a second place that the problem is about.
    pub(super) fn also(&mut self, span: &Span, part: impl Into<String>) {
        self.also.push((span.clone(), part.into()));
    }
}

/// A value the parser of one option refuses: what is wrong, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) help: String,
}

impl Wrong {
    #[cfg_attr(test, track_caller)]
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        #[cfg(test)]
        sites::saw();
        Self { what: what.into(), help: help.into() }
    }
}

/// All that was found so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) problems: Vec<Problem>,
    /// Values that must not be shown, whatever is said about their line.
    pub(super) masked: Vec<Span>,
    /// The files that were read on the way.
    pub(super) files: Files,
}

impl Faults {
    /// The file cannot be used because of this.
    #[cfg_attr(test, track_caller)]
    pub(super) fn fault(&mut self, span: &Span, what: impl Into<String>, help: impl Into<String>) -> &mut Problem {
        self.push(Severity::Fault, span, what.into(), help.into())
    }

    /// The file can be used, but this should be known.
    #[cfg_attr(test, track_caller)]
    pub(super) fn warn(&mut self, span: &Span, what: impl Into<String>, help: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, span, what.into(), help.into())
    }

    /// Whether nothing stands in the way of using the file, so far.
    pub(super) fn is_none(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity == Severity::Warning)
    }

    /// A secret stands here in clear: no report may repeat it.
    pub(super) fn mask(&mut self, span: &Span) {
        self.masked.push(span.clone());
    }

    #[cfg_attr(test, track_caller)]
    fn push(&mut self, severity: Severity, span: &Span, what: String, help: String) -> &mut Problem {
        #[cfg(test)]
        sites::saw();
        self.problems.push(Problem { severity, span: Some(span.clone()), what, help, also: Vec::new() });
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

/// The places in the source that reported something, for the test that holds the golden files against them.
#[cfg(test)]
pub(super) mod sites {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::panic::Location;

    /// A file and a line.
    pub(in crate::config) type Site = (String, u32);

    thread_local! {
        static SEEN: RefCell<BTreeSet<Site>> = RefCell::default();
    }

    #[track_caller]
    pub(super) fn saw() {
        let at = Location::caller();
        SEEN.with_borrow_mut(|seen| seen.insert((at.file().to_owned(), at.line())));
    }

    /// What was seen on this thread so far.
    pub(in crate::config) fn seen() -> BTreeSet<Site> {
        SEEN.with_borrow(Clone::clone)
    }
}
