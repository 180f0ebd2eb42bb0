//! How commands speak: data on standard output, everything else on standard error.
//!
//! Owns formats and the layout of tables. Must not know what is in them.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Writes data to standard output. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// Any other failure to write.
pub(super) fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A directory or file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {error}", .path.display())]
pub struct WriteError {
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// Writes files into a directory, which is made if it is not there.
///
/// # Errors
/// See [`WriteError`].
pub(super) fn files(directory: &Path, files: &[(String, String)]) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| WriteError { path, error }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Says something beside the data.
#[allow(clippy::print_stderr, reason = "the one place where commands do")]
pub(super) fn note(line: &str) {
    eprintln!("{line}");
}

/// The value as one document that ends with a newline.
///
/// # Errors
/// When the value cannot be written, which no value of a command is known for.
pub(super) fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// As [`json`], in YAML that older readers (YAML 1.1) understand the same way.
///
/// # Errors
/// As [`json`].
pub(super) fn yaml(value: &impl Serialize) -> io::Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).map_err(io::Error::other)?;
    Ok(format!("{}\n", text.trim_end()))
}

/// Columns as wide as their widest cell, as kubectl writes them. No line ends in white space.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: String = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}   ")).collect();
        format!("{}\n", padded.trim_end())
    };
    let head = line(&mut header.iter().copied());
    rows.iter().fold(head, |text, row| text + &line(&mut row.iter().map(String::as_str)))
}

/// `-` for what is not there, so that columns can be cut by white space.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1 object`, `2 objects`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long one".to_owned()], vec!["größer".to_owned(), String::new()]];
        assert_eq!(table(&["X", "WHY"], &rows), "X        WHY\na        long one\ngrößer\n");
    }

    #[test]
    fn yaml_quotes_what_old_readers_take_for_something_else() {
        for text in
            ["yes", "on", "NO", "1_0", "0o7", "012", "190:20:30", "2026-01-01", "~", "null", "=", "<<", "1e3", ""]
        {
            let written = yaml(&serde_json::json!({ "name": text })).unwrap();
            assert!(written.contains('"') || written.contains('\''), "{text}: {written}");
        }
        assert_eq!(yaml(&serde_json::json!({ "name": "gpu east" })).unwrap(), "name: gpu east\n");
    }
}
