//! The table of figures with their gates. Owns printing and the verdict; knows nothing of what is measured.

use std::fmt::Display;

/// Collects figures, so that all are shown also when one fails.
#[derive(Default)]
pub struct Figures {
    title: String,
    rows: Vec<[String; 3]>,
    broken: Vec<String>,
}

impl Figures {
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// A figure without a gate.
    pub fn report(&mut self, what: &str, value: impl Display) {
        self.rows.push([what.to_owned(), value.to_string(), String::new()]);
    }

    /// A figure that must not exceed `limit`.
    pub fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.within(what, value, f64::MIN..=limit, &format!("<= {}", short(limit)));
    }

    /// A count that must be just so.
    pub fn exactly(&mut self, what: &str, value: usize, wanted: usize) {
        let (value, wanted) = (float(value), float(wanted));
        self.within(what, value, wanted..=wanted, &format!("= {}", short(wanted)));
    }

    /// A figure that must lie in `range`.
    pub fn between(&mut self, what: &str, value: f64, least: f64, most: f64) {
        self.within(what, value, least..=most, &format!("{} .. {}", short(least), short(most)));
    }

    fn within(&mut self, what: &str, value: f64, range: std::ops::RangeInclusive<f64>, gate: &str) {
        if !range.contains(&value) {
            self.broken.push(format!("{what}: {} is not {gate}", short(value)));
        }
        self.rows.push([what.to_owned(), short(value), gate.to_owned()]);
    }

    /// Prints everything; panics if a gate does not hold.
    pub fn conclude(self) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let (first, second) = (width(0), width(1));
        println!("\n{}", self.title);
        for [what, value, gate] in &self.rows {
            println!("| {what:first$} | {value:>second$} | {gate:16} |");
        }
        assert!(self.broken.is_empty(), "{}:\n{}", self.title, self.broken.join("\n"));
    }
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// Counts in tests are small.
#[allow(clippy::cast_precision_loss)]
pub fn float(count: usize) -> f64 {
    count as f64
}

/// Slope and constant of the least-squares line through `points`.
pub fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let n = float(points.len());
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    (slope, y - slope * x)
}

/// The value below which `percent` of the sorted values lie (nearest rank).
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[test]
fn a_line_is_found_and_a_rank_too() {
    let (slope, constant) = fit(&[(50.0, 207.0), (200.0, 807.0), (800.0, 3207.0)]);
    assert!((slope - 4.0).abs() < 1e-9 && (constant - 7.0).abs() < 1e-6, "{slope} {constant}");
    let values: Vec<f64> = (1..=20).map(f64::from).collect();
    assert!((percentile(&values, 50) - 10.0).abs() < 1e-9 && (percentile(&values, 99) - 20.0).abs() < 1e-9);
}

#[test]
#[should_panic(expected = "writes: 4.002 is not <= 4")]
fn a_broken_gate_fails() {
    let mut figures = Figures::new("test");
    figures.at_most("writes", 4.002, 4.0);
    figures.conclude();
}
