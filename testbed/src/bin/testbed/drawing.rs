//! A Grafana dashboard with its data, as an SVG.
//!
//! Owns places, colours and words; knows the panel types that the dashboard has. Pure: the same dashboard and record give
//! the same text.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};
use testbed::Series;

use crate::picture::Record;

/// The unit of `gridPos`: 24 columns make the width.
const GRID: (f64, f64) = (38.0, 26.0);
const WIDTH: f64 = 24.0 * GRID.0;
/// Height of a line of the story and of a table.
const LINE: f64 = 16.0;
/// Rows of a legend at most. Where not all fit, those with the highest peaks come first, and the rest is counted.
const LEGEND_ROWS: usize = 4;
const MORE: &str = " more";
/// Width of a letter in sizes of the font, on average, in the widest of the usual fonts.
const LETTER: f64 = 0.6;
const DARK: &str = "#1f2933";
const PALE: &str = "#66707b";
const COLOURS: [&str; 10] =
    ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#2a9d9d", "#9c755f", "#d37295", "#c2a200", "#79706e"];

/// A name, and times with numbers.
type Line = (String, Vec<(f64, f64)>);

/// How many points an answer has to show.
pub(crate) fn points(answer: &[Series]) -> usize {
    answer.iter().map(|series| numbers(series).len()).sum()
}

/// Times and numbers; what is not a number leaves a gap.
fn numbers(series: &Series) -> Vec<(f64, f64)> {
    let read =
        |(time, text): &(f64, String)| Some((*time, text.parse::<f64>().ok().filter(|value| value.is_finite())?));
    series.values.iter().filter_map(read).collect()
}

/// The picture. Its `desc` says in JSON what it was drawn from: a digest of all queries, and the points of each.
pub(crate) fn draw(dashboard: &Value, record: &Record) -> String {
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let story_rows = record.story.len().div_ceil(2);
    let head = 52.0 + LINE * story_rows as f64;
    let bottom = panels.iter().map(|panel| grid(panel, "y") + grid(panel, "h")).fold(0.0, f64::max);
    let height = head + bottom * GRID.1 + 8.0;
    let mut canvas = Canvas(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Helvetica, Arial, sans-serif\">\n"
    ));
    let _ = writeln!(canvas.0, "<desc>{}</desc>", escaped(&origin(panels, record).to_string()));
    let _ = writeln!(canvas.0, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#f4f5f7\"/>");
    canvas.text(12.0, 24.0, "17\" font-weight=\"bold", DARK, &text(&dashboard["title"]));
    let how = format!(
        "a run of {} UTC, operator {}, minutes since its start; dotted: what was done",
        record.date, record.version
    );
    canvas.text(12.0, 42.0, "11", PALE, &how);
    for (number, (second, what)) in record.story.iter().enumerate() {
        let (column, row) = (number / story_rows, number % story_rows);
        let (x, y) = (12.0 + WIDTH / 2.0 * column as f64, 60.0 + LINE * row as f64);
        canvas.text(x, y, "11", DARK, &format!("{}:{:02}", second / 60, second % 60));
        canvas.text(x + 32.0, y, "11", PALE, what);
    }
    for panel in panels {
        let (x, y) = (grid(panel, "x") * GRID.0, head + grid(panel, "y") * GRID.1);
        let frame = Frame { x, y, w: grid(panel, "w") * GRID.0, h: grid(panel, "h") * GRID.1 };
        let answers = panel["id"].as_u64().and_then(|id| record.panels.get(&id)).map(Vec::as_slice).unwrap_or_default();
        canvas.panel(panel, answers, record, &frame);
    }
    canvas.0 + "</svg>\n"
}

fn origin(panels: &[Value], record: &Record) -> Value {
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets.map(|target| text(&target["expr"])).collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, queries.join("\n").as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let counts: BTreeMap<_, Vec<_>> =
        record.panels.iter().map(|(id, answers)| (id, answers.iter().map(|answer| points(answer)).collect())).collect();
    json!({ "queries": digest, "points": counts })
}

struct Frame {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

struct Canvas(String);

impl Canvas {
    /// `size` may carry further attributes.
    fn text(&mut self, x: f64, y: f64, size: &str, fill: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\">{text}</text>");
    }

    fn path(&mut self, d: &str, stroke: &str) {
        let _ = writeln!(self.0, "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\"/>");
    }

    fn panel(&mut self, panel: &Value, answers: &[Vec<Series>], record: &Record, frame: &Frame) {
        let Frame { x, y, w, h } = *frame;
        let _ = writeln!(self.0, "<g id=\"panel-{}\">", panel["id"]);
        if panel["type"] == "row" {
            self.text(x + 12.0, y + 18.0, "13\" font-weight=\"bold", DARK, &text(&panel["title"]));
        } else {
            let (w, h) = (w - 8.0, h - 8.0);
            let place = format!("x=\"{}\" y=\"{}\" width=\"{w}\" height=\"{h}\" rx=\"3\"", x + 4.0, y + 4.0);
            let _ = writeln!(self.0, "<rect {place} fill=\"#fff\" stroke=\"#dcdfe3\"/>");
            let size = if panel["type"] == "stat" { 11 } else { 12 };
            self.text(x + 12.0, y + 22.0, &format!("{size}\" font-weight=\"bold"), DARK, &text(&panel["title"]));
        }
        match panel["type"].as_str().unwrap_or_default() {
            "row" => {}
            "stat" => self.stat(panel, answers, frame),
            "table" => self.table(panel, answers, frame),
            _ => self.lines(panel, answers, record, frame),
        }
        self.0.push_str("</g>\n");
    }

    /// The last number, in the colour of its threshold.
    fn stat(&mut self, panel: &Value, answers: &[Vec<Series>], frame: &Frame) {
        let Some((_, value)) = answers.iter().flatten().flat_map(numbers).last() else { return };
        let defaults = &panel["fieldConfig"]["defaults"];
        let mut steps = defaults["thresholds"]["steps"].as_array().into_iter().flatten();
        let reached = steps.rfind(|step| step["value"].as_f64().is_none_or(|least| value >= least));
        let colour = match reached.and_then(|step| step["color"].as_str()) {
            Some("green") => "#2f8f46",
            Some("orange") => "#d9730d",
            Some("red") => "#c4314b",
            _ => DARK,
        };
        let (factor, unit) = scale(&text(&defaults["unit"]), value);
        let shown = format!("{}{unit}", figure(value * factor));
        let middle = frame.x + frame.w / 2.0;
        self.text(middle, frame.y + 74.0, "34\" text-anchor=\"middle", colour, &shown);
    }

    fn lines(&mut self, panel: &Value, answers: &[Vec<Series>], record: &Record, frame: &Frame) {
        let mut lines = legends(panel, answers);
        let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
        let top = lines.iter().map(|(_, numbers)| peak(numbers)).fold(0.0, f64::max);
        let (factor, suffix) = scale(&unit, top);
        let (tick, upper) = ticks(top * factor, if unit == "short" { 1.0 } else { 0.0 });
        if laid_out(&names(&lines), frame.w - 28.0).last().is_some_and(|(.., last)| last.ends_with(MORE)) {
            lines.sort_by(|(_, one), (_, other)| peak(other).total_cmp(&peak(one)));
        }
        let legend = laid_out(&names(&lines), frame.w - 28.0);
        let legend_rows = legend.iter().map(|(row, ..)| row + 1).max().unwrap_or_default() as f64;
        let (left, right) = (frame.x + 64.0, frame.x + frame.w - 18.0);
        let (high, low) = (frame.y + 38.0, frame.y + frame.h - 34.0 - 14.0 * legend_rows);
        let (from, to) = (record.span.0 as f64, record.span.1 as f64);
        let at = |time: f64, value: f64| {
            (left + (right - left) * (time - from) / (to - from), low - (low - high) * value * factor / upper)
        };

        let mut value = 0.0;
        while value <= upper + tick / 2.0 {
            let (_, y) = at(from, value / factor);
            self.path(&format!("M{left:.1} {y:.1}H{right:.1}"), "#e8eaed");
            let label = format!("{}{suffix}", figure(value));
            self.text(left - 6.0, y + 3.5, "10\" text-anchor=\"end", PALE, &label);
            value += tick;
        }
        let every = if frame.w < WIDTH / 2.0 { 2 } else { 1 };
        for minute in (0..=(record.span.1 - record.span.0) / 60).step_by(every) {
            let (x, y) = at(from + 60.0 * minute as f64, 0.0);
            self.text(x, y + 14.0, "10\" text-anchor=\"middle", PALE, &minute.to_string());
        }
        for (second, _) in &record.story {
            let (x, _) = at(from + *second as f64, 0.0);
            self.path(&format!("M{x:.1} {high:.1}V{low:.1}"), "#b9c0c8\" stroke-dasharray=\"1 3");
        }
        for (number, (_, numbers)) in lines.iter().enumerate() {
            let d = polyline(numbers, record.step as f64 * 1.5, at);
            self.path(
                &d,
                &format!("{}\" stroke-width=\"1.6\" stroke-linecap=\"round", COLOURS[number % COLOURS.len()]),
            );
        }
        for (number, (row, x, name)) in legend.iter().enumerate() {
            let (x, y) = (frame.x + 16.0 + x, low + 32.0 + 14.0 * *row as f64);
            if !name.ends_with(MORE) {
                self.path(
                    &format!("M{x:.1} {:.1}h9", y - 3.5),
                    &format!("{}\" stroke-width=\"3", COLOURS[number % COLOURS.len()]),
                );
            }
            self.text(x + 13.0, y, "10", DARK, name);
        }
    }

    /// The answers merged by their labels, as Grafana's transformation `merge` does, with the columns of `organize`.
    fn table(&mut self, panel: &Value, answers: &[Vec<Series>], frame: &Frame) {
        let transformations = panel["transformations"].as_array().into_iter().flatten();
        let organize = transformations.filter(|step| step["id"] == "organize").map(|step| &step["options"]).next_back();
        let organize = organize.unwrap_or(&Value::Null);
        let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
        let mut rows: Vec<BTreeMap<String, String>> = Vec::new();
        let mut columns: Vec<String> = Vec::new();
        for (target, series) in panel["targets"].as_array().into_iter().flatten().zip(answers) {
            let value = format!("Value #{}", text(&target["refId"]));
            let hidden = organize["excludeByName"][&value] == true;
            let column = organize["renameByName"][&value].as_str().unwrap_or(&value).to_owned();
            for one in series {
                let same = |row: &&mut BTreeMap<String, String>| {
                    one.labels.iter().all(|(k, v)| row.get(k).is_none_or(|have| have == v))
                };
                let mut fields = one.labels.clone();
                if let (false, Some((_, number))) = (hidden, numbers(one).last()) {
                    let (factor, suffix) = scale(&unit, *number);
                    fields.insert(column.clone(), format!("{}{suffix}", figure(number * factor)));
                }
                columns.extend(fields.keys().filter(|name| !columns.contains(name)).cloned().collect::<Vec<_>>());
                match rows.iter_mut().find(same) {
                    Some(row) => row.extend(fields),
                    None => rows.push(fields),
                }
            }
        }
        let cell = |row: &BTreeMap<String, String>, name: &String| row.get(name).cloned().unwrap_or_default();
        let wide =
            |name: &String| rows.iter().map(|row| cell(row, name).len()).max().unwrap_or_default().max(name.len()) + 3;
        let all: usize = columns.iter().map(wide).sum();
        let room = ((frame.h - 62.0) / LINE).floor() as usize;
        let shown = if rows.len() > room { room - 1 } else { rows.len() };
        let mut x = frame.x + 16.0;
        for name in &columns {
            self.text(x, frame.y + 42.0, "11\" font-weight=\"bold", PALE, name);
            for (number, row) in rows[..shown].iter().enumerate() {
                self.text(x, frame.y + 60.0 + LINE * number as f64, "11", DARK, &cell(row, name));
            }
            x += (frame.w - 32.0) * wide(name) as f64 / all as f64;
        }
        if shown < rows.len() {
            let more = format!("and {} more", rows.len() - shown);
            self.text(frame.x + 16.0, frame.y + 60.0 + LINE * shown as f64, "11", PALE, &more);
        }
    }
}

fn grid(panel: &Value, key: &str) -> f64 {
    panel["gridPos"][key].as_f64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The lines of a panel with their names.
fn legends(panel: &Value, answers: &[Vec<Series>]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (target, answer) in panel["targets"].as_array().into_iter().flatten().zip(answers) {
        for series in answer {
            let mut name = text(&target["legendFormat"]);
            for (label, value) in &series.labels {
                name = name.replace(&format!("{{{{{label}}}}}"), value);
            }
            lines.push((name, numbers(series)));
        }
    }
    lines.retain(|(_, numbers)| !numbers.is_empty());
    lines
}

fn peak(numbers: &[(f64, f64)]) -> f64 {
    numbers.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn names(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|(name, _)| name.as_str()).collect()
}

/// Row, offset and text of each entry of a legend; the last one may count those that do not fit.
fn laid_out(names: &[&str], width: f64) -> Vec<(usize, f64, String)> {
    let wide = |name: &str| 13.0 + 10.0 * LETTER * name.len() as f64 + 12.0;
    let more = |left: usize| format!("+ {left}{MORE}");
    let (mut row, mut x, mut entries) = (0, 0.0, Vec::new());
    for (number, name) in names.iter().enumerate() {
        if x + wide(name) > width && x > 0.0 {
            (row, x) = (row + 1, 0.0);
        }
        let is_last = number + 1 == names.len();
        let reserve = if row + 1 == LEGEND_ROWS && !is_last { wide(&more(names.len())) } else { 0.0 };
        if row == LEGEND_ROWS || x + wide(name) + reserve > width && reserve > 0.0 {
            entries.push((row.min(LEGEND_ROWS - 1), x, more(names.len() - number)));
            break;
        }
        entries.push((row, x, (*name).to_owned()));
        x += wide(name);
    }
    entries
}

/// Factor and suffix for numbers up to `top`.
fn scale(unit: &str, top: f64) -> (f64, &'static str) {
    match unit {
        "s" if top < 1.0 => (1000.0, " ms"),
        "s" if top < 120.0 => (1.0, " s"),
        "s" => (1.0 / 60.0, " min"),
        "reqps" | "ops" => (1.0, "/s"),
        _ => (1.0, ""),
    }
}

/// Three digits or so.
fn figure(value: f64) -> String {
    let digits = if value.abs() >= 99.5 {
        0
    } else if value.abs() >= 9.95 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Round steps for an axis from 0 to `top`, at least `least` each, and where the axis ends.
fn ticks(top: f64, least: f64) -> (f64, f64) {
    if top <= 0.0 {
        return (1.0, 1.0);
    }
    let magnitude = 10_f64.powf((top / 4.0).log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * magnitude);
    let tick = round.into_iter().find(|step| *step * 4.0 >= top * 0.999).unwrap_or(10.0 * magnitude).max(least);
    (tick, (top / tick - 0.001).ceil().max(1.0) * tick)
}

/// Path data, with a gap where points are further apart than `gap`, and without points that a straight line passes.
fn polyline(numbers: &[(f64, f64)], gap: f64, at: impl Fn(f64, f64) -> (f64, f64)) -> String {
    let mut d = String::new();
    for (index, &(time, value)) in numbers.iter().enumerate() {
        let beside =
            |other: Option<&(f64, f64)>| other.filter(|(then, _)| (then - time).abs() <= gap).map(|(_, value)| *value);
        let (before, after) =
            (index.checked_sub(1).and_then(|i| beside(numbers.get(i))), beside(numbers.get(index + 1)));
        if before == Some(value) && after == Some(value) {
            continue;
        }
        let (x, y) = at(time, value);
        let _ = write!(d, "{}{x:.1} {y:.1}", if before.is_some() { "L" } else { "M" });
        if before.is_none() && after.is_none() {
            // A point alone: a dot, by the round ends of the line.
            d.push_str("h0");
        }
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(ticks(0.0, 1.0), (1.0, 1.0));
        assert_eq!(ticks(1.0, 1.0), (1.0, 1.0));
        assert_eq!(ticks(28.0, 1.0), (10.0, 30.0));
        assert_eq!(ticks(0.37, 0.0), (0.1, 0.4));
        assert_eq!([0.0, 12.0, 0.25, 99.96, 1234.0].map(figure), ["0", "12", "0.25", "100", "1234"]);
        assert_eq!([0.05, 65.0, 180.0].map(|top| scale("s", top).1), [" ms", " s", " min"]);
    }

    #[test]
    fn a_line_has_gaps_and_no_needless_points() {
        let at = |time: f64, value: f64| (time, value);
        let numbers = [(0.0, 1.0), (5.0, 1.0), (10.0, 1.0), (15.0, 2.0), (40.0, 3.0), (60.0, 4.0), (65.0, 4.0)];
        assert_eq!(polyline(&numbers, 7.5, at), "M0.0 1.0L10.0 1.0L15.0 2.0M40.0 3.0h0M60.0 4.0L65.0 4.0");
    }

    #[test]
    fn a_legend_counts_what_does_not_fit() {
        let names = ["list_clusters 200"; 9];
        let entries = laid_out(&names, 300.0);
        assert_eq!(entries.iter().map(|(row, ..)| *row).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(entries.last().map(|(.., text)| text.as_str()), Some("+ 2 more"));
        assert_eq!(laid_out(&names[..6], 300.0).len(), 6);
    }
}
