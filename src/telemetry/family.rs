//! One metric: its series under their labels, and its lines for Prometheus (text format 0.0.4).
//!
//! The `prometheus` crate counts. Its own families copy every label of every series for each scrape: with some ten thousand
//! series that is most of the time and of the memory that a scrape takes. Here a series is kept with its labels as they are
//! written, in the order in which they are written, so that a scrape only joins texts. The number of a series' labels is
//! part of the type.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus::core::Metric as _;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge};

/// A metric with this many labels.
pub(super) struct Family<M, const LABELS: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; LABELS],
    /// Upper bounds of buckets, where it has any.
    bounds: &'static [f64],
    /// What counts where a series cannot be made, which was proven to be possible: so that nothing here can fail.
    spare: M,
    /// By their labels as they are written, without braces.
    series: RwLock<BTreeMap<Box<str>, Series<M, LABELS>>>,
}

/// A series.
struct Series<M, const LABELS: usize> {
    values: [Box<str>; LABELS],
    measure: M,
}

/// What a series measures by. Clones are of the same.
pub(super) trait Measure: Clone + Send + Sync {
    /// The metric's type, as the text format calls it.
    const TYPE: &'static str;

    /// A new one, with these upper bounds of buckets where it has any.
    fn new(bounds: &'static [f64]) -> prometheus::Result<Self>;

    /// Writes its lines.
    fn write(&self, lines: &mut Lines<'_>);
}

/// Where the lines of one series go.
pub(super) struct Lines<'a> {
    text: &'a mut String,
    name: &'a str,
    labels: &'a str,
}

/// Any family.
pub(super) trait Written: Send + Sync {
    /// Writes all its lines; none where it has no series.
    fn write(&self, text: &mut String);

    /// Whether it tells how things stand, not what was counted.
    fn is_state(&self) -> bool;

    /// Removes the series with this value of that label.
    fn forget(&self, label: &str, value: &str);
}

impl<M: Measure, const LABELS: usize> Family<M, LABELS> {
    /// A metric without a series.
    ///
    /// # Errors
    ///
    /// `bounds` do not ascend: a defect of ours.
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: [&'static str; LABELS],
    ) -> prometheus::Result<Self> {
        Ok(Self { name, help, labels, bounds, spare: M::new(bounds)?, series: RwLock::default() })
    }

    /// The series of these values, which stand in the order of the labels; made where there is none.
    pub(super) fn series(&self, values: [&str; LABELS]) -> M {
        let key = Box::from(written(self.labels, values));
        if let Some(series) = self.all().get(&key) {
            return series.measure.clone();
        }
        let made = || Series {
            values: values.map(Box::from),
            measure: M::new(self.bounds).unwrap_or_else(|_| self.spare.clone()),
        };
        self.all_mut().entry(key).or_insert_with(made).measure.clone()
    }

    /// Removes every series whose values are not so.
    pub(super) fn keep(&self, so: impl Fn([&str; LABELS]) -> bool) {
        self.all_mut().retain(|_, series| so(series.values.each_ref().map(|value| &**value)));
    }

    fn all(&self) -> RwLockReadGuard<'_, BTreeMap<Box<str>, Series<M, LABELS>>> {
        // What it guards is whole after every step.
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Box<str>, Series<M, LABELS>>> {
        self.series.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Measure, const LABELS: usize> Written for Family<M, LABELS> {
    fn write(&self, text: &mut String) {
        let all = self.all();
        if all.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {2}", self.name, self.help, M::TYPE);
        for (labels, series) in all.iter() {
            series.measure.write(&mut Lines { text, name: self.name, labels });
        }
    }

    fn is_state(&self) -> bool {
        M::TYPE == "gauge"
    }

    fn forget(&self, label: &str, value: &str) {
        if let Some(at) = self.labels.iter().position(|known| *known == label) {
            self.keep(|values| values[at] != value);
        }
    }
}

impl Lines<'_> {
    /// Writes a line; `further` is one more label.
    fn line(&mut self, suffix: &str, further: Option<(&str, &dyn Display)>, value: impl Display) {
        let Lines { text, name, labels } = self;
        text.push_str(name);
        text.push_str(suffix);
        if !labels.is_empty() || further.is_some() {
            text.push('{');
            text.push_str(labels);
            if let Some((label, value)) = further {
                let comma = if labels.is_empty() { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma}{label}=\"{value}\"");
            }
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

impl Measure for IntCounter {
    const TYPE: &'static str = "counter";

    fn new(_: &'static [f64]) -> prometheus::Result<Self> {
        Self::new(UNNAMED, UNNAMED)
    }

    fn write(&self, lines: &mut Lines<'_>) {
        lines.line("", None, self.get());
    }
}

impl Measure for IntGauge {
    const TYPE: &'static str = "gauge";

    fn new(_: &'static [f64]) -> prometheus::Result<Self> {
        Self::new(UNNAMED, UNNAMED)
    }

    fn write(&self, lines: &mut Lines<'_>) {
        lines.line("", None, self.get());
    }
}

impl Measure for Gauge {
    const TYPE: &'static str = "gauge";

    fn new(_: &'static [f64]) -> prometheus::Result<Self> {
        Self::new(UNNAMED, UNNAMED)
    }

    fn write(&self, lines: &mut Lines<'_>) {
        lines.line("", None, self.get());
    }
}

impl Measure for Histogram {
    const TYPE: &'static str = "histogram";

    fn new(bounds: &'static [f64]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::new(UNNAMED, UNNAMED).buckets(bounds.to_vec()))
    }

    fn write(&self, lines: &mut Lines<'_>) {
        let metric = self.metric();
        let histogram = metric.get_histogram();
        for bucket in histogram.get_bucket() {
            lines.line("_bucket", Some(("le", &bucket.upper_bound())), bucket.cumulative_count());
        }
        lines.line("_bucket", Some(("le", &"+Inf")), histogram.get_sample_count());
        lines.line("_sum", None, histogram.get_sample_sum());
        lines.line("_count", None, histogram.get_sample_count());
    }
}

/// What the crate is told is the name and the help of each measure: these are the family's.
const UNNAMED: &str = "m";

/// Labels as they are written, in the order of their names.
fn written<const LABELS: usize>(labels: [&str; LABELS], values: [&str; LABELS]) -> String {
    let mut pairs: Vec<_> = labels.into_iter().zip(values).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(label, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{label}=\"{value}\"")
    });
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(family: &dyn Written) -> String {
        let mut text = String::new();
        family.write(&mut text);
        text
    }

    #[test]
    fn series_and_their_labels_are_written_in_order() {
        let family = Family::<IntCounter, 2>::new("a_total", "What it is.", &[], ["route", "by"]).unwrap();
        assert_eq!(text(&family), "", "no series, no lines");
        family.series(["b", "x"]).inc_by(2);
        family.series(["a", "y"]).inc();
        family.series(["a", "y"]).inc();
        let expected = "# HELP a_total What it is.\n# TYPE a_total counter\n\
                        a_total{by=\"x\",route=\"b\"} 2\na_total{by=\"y\",route=\"a\"} 2\n";
        assert_eq!(text(&family), expected);
        family.forget("other", "a");
        assert_eq!(text(&family), expected);
        family.forget("route", "a");
        assert!(!text(&family).contains("route=\"a\"") && text(&family).contains("route=\"b\""));
        family.keep(|[_, by]| by != "x");
        assert_eq!(text(&family), "");
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let family = Family::<Gauge, 1>::new("a", "A.", &[], ["name"]).unwrap();
        family.series(["a\\b\"c\nd"]).set(0.25);
        assert_eq!(text(&family), "# HELP a A.\n# TYPE a gauge\na{name=\"a\\\\b\\\"c\\nd\"} 0.25\n");
    }

    #[test]
    fn a_histogram_has_a_line_for_each_bucket_its_sum_and_its_count() {
        let with = Family::<Histogram, 1>::new("s", "S.", &[0.005, 1.0], ["route"]).unwrap();
        let without = Family::<Histogram, 0>::new("s", "S.", &[0.005, 1.0], []).unwrap();
        for histogram in [with.series(["a"]), without.series([])] {
            histogram.observe(0.001);
            histogram.observe(0.5);
            histogram.observe(2.5);
        }
        let lines = "s_bucket{route=\"a\",le=\"0.005\"} 1\ns_bucket{route=\"a\",le=\"1\"} 2\n\
                     s_bucket{route=\"a\",le=\"+Inf\"} 3\ns_sum{route=\"a\"} 3.001\ns_count{route=\"a\"} 3\n";
        let head = "# HELP s S.\n# TYPE s histogram\n";
        assert_eq!(text(&with), format!("{head}{lines}"));
        let bare = lines.replace("route=\"a\",", "").replace("{route=\"a\"}", "");
        assert_eq!(text(&without), format!("{head}{bare}"));
    }

    #[test]
    fn bounds_that_do_not_ascend_are_a_defect() {
        assert!(Family::<Histogram, 0>::new("s", "S.", &[1.0, 1.0], []).is_err());
    }
}
