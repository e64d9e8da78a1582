//! The report on a file: each problem as `file:line:column`, the line itself, what is wrong, what to write instead.
//!
//! For people as text (plain, or coloured where the caller knows a terminal reads it), for machines as JSON. Both come from
//! the same list. A secret that was written into the file is masked in both.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use super::fault::{Faults, Problem, Severity, Span};

/// All that is to be said about one file, in the order of the file.
#[derive(Debug, Clone)]
pub struct Report {
    path: String,
    source: String,
    problems: Vec<Problem>,
}

impl Report {
    /// The report on a file whose text was read.
    pub(super) fn new(path: &Path, source: &str, faults: Faults) -> Self {
        let mut problems = faults.problems;
        for problem in &mut problems {
            problem.span = problem.span.take().map(|span| within(source, span));
        }
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        Self { path: path.display().to_string(), source: masked(source, &faults.masked), problems }
    }

    /// The report on a file that could not be read at all.
    pub(super) fn unreadable(path: &Path, what: String, help: &str) -> Self {
        let problem = Problem { severity: Severity::Fault, span: None, what, help: help.to_owned(), also: Vec::new() };
        Self { path: path.display().to_string(), source: String::new(), problems: vec![problem] }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems refuse the file.
    pub fn faults(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Fault).count()
    }

    /// What becomes of the file, in one line.
    pub fn verdict(&self) -> String {
        match self.faults() {
            0 => "the file is good".to_owned(),
            1 => "one fault: the file is refused".to_owned(),
            faults => format!("{faults} faults: the file is refused"),
        }
    }

    /// The report for people; `colour` only where a terminal reads it and `NO_COLOR` is not set.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        self.problems.iter().map(|problem| self.rendered(problem, &renderer) + "\n\n").collect()
    }

    /// The report for machines.
    pub fn json(&self) -> serde_json::Value {
        let problems: Vec<_> = self.problems.iter().map(|problem| self.entry(problem)).collect();
        serde_json::json!({ "file": self.path, "faults": self.faults(), "problems": problems })
    }

    /// Each problem in one piece: what the log tells of it where its lines are for machines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.problems.iter().map(|problem| {
            let place = problem.span.as_ref().map(|span| self.place(span));
            let also = problem.also.iter().map(|(span, part)| format!("{}: {part}", self.located(&self.place(span))));
            let also = also.collect::<Vec<_>>().join(", ");
            Line {
                severity: problem.severity,
                place: place.as_ref().map_or_else(|| self.path.clone(), |place| self.located(place)),
                text: place.map(|place| place.text),
                what: &problem.what,
                help: &problem.help,
                also: Some(also).filter(|also| !also.is_empty()),
            }
        })
    }

    fn located(&self, place: &Place<'_>) -> String {
        format!("{}:{}:{}", self.path, place.line, place.column)
    }

    fn rendered(&self, problem: &Problem, renderer: &Renderer) -> String {
        let level = match problem.severity {
            Severity::Fault => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let Some(span) = &problem.span else {
            let group = level.primary_title(format!("{}: {}", self.path, problem.what));
            return renderer.render(&[group.element(Level::HELP.message(problem.help.as_str()))]);
        };
        let snippet = Snippet::source(self.source.as_str())
            .path(self.path.as_str())
            .annotation(AnnotationKind::Primary.span(span.clone()))
            .annotations(problem.also.iter().map(|(span, part)| {
                AnnotationKind::Context.span(within(&self.source, span.clone())).label(part.as_str())
            }));
        let group = level.primary_title(problem.what.as_str()).element(snippet);
        renderer.render(&[group.element(Level::HELP.message(problem.help.as_str()))])
    }

    fn entry<'a>(&'a self, problem: &'a Problem) -> Entry<'a> {
        Entry {
            severity: problem.severity.name(),
            place: problem.span.as_ref().map(|span| self.place(span)),
            what: &problem.what,
            help: &problem.help,
            also: problem.also.iter().map(|(span, part)| Also { place: self.place(span), part }).collect(),
        }
    }

    /// Line and column, both from 1, the column in characters.
    fn place(&self, span: &Span) -> Place<'_> {
        let span = within(&self.source, span.clone());
        let before = &self.source[..span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: self.source[line_start..span.start].chars().count() + 1,
            text: self.source[line_start..].lines().next().unwrap_or_default(),
        }
    }
}

/// A problem in one piece. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// `file:line:column`, or the file alone where it is about all of it.
    pub place: String,
    /// The line that stands there.
    pub text: Option<&'a str>,
    /// What is wrong.
    pub what: &'a str,
    /// What to write instead.
    pub help: &'a str,
    /// The other places it is about, each with a word on its part.
    pub also: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    severity: &'static str,
    #[serde(flatten)]
    place: Option<Place<'a>>,
    what: &'a str,
    help: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Also<'a>>,
}

#[derive(Serialize)]
struct Also<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    part: &'a str,
}

#[derive(Serialize)]
struct Place<'a> {
    line: usize,
    column: usize,
    text: &'a str,
}

/// The span, moved to the nearest character borders inside the text: a parser may point past the end.
fn within(source: &str, span: Span) -> Span {
    let border = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.start);
    start..border(span.end).max(start)
}

/// The text with every secret replaced by stars, byte for byte, so that all places stay where they are.
fn masked(source: &str, secrets: &[Span]) -> String {
    let mut text = source.to_owned();
    for span in secrets {
        let span = within(source, span.clone());
        let stars: String = source[span.clone()]
            .chars()
            .map(|c| if matches!(c, '\n' | '"' | '\'') { c.to_string() } else { "*".repeat(c.len_utf8()) })
            .collect();
        text.replace_range(span, &stars);
    }
    text
}
