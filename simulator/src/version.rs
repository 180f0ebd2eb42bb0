//! Cluster versions: `major.minor[.patch[suffix]]`, compared by number.
//!
//! Owns parsing and comparison. Must not know what depends on a version.

/// A parsed version; a suffix takes no part in comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// `None` when the text has another form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let major = number(parts.next()?)?;
        let minor = number(parts.next()?)?;
        let patch = match parts.next() {
            None => 0,
            Some(rest) => {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let suffix = &rest[digits..];
                let clean = suffix.chars().all(|c| c.is_ascii_alphanumeric() || "-+._".contains(c));
                if !clean {
                    return None;
                }
                number(&rest[..digits])?
            }
        };
        Some(Self { major, minor, patch })
    }

    /// Same release line or older: the patch level is not looked at.
    pub(crate) fn is_newer_line_than(self, other: Self) -> bool {
        (self.major, self.minor) > (other.major, other.minor)
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn compares_by_number_and_reads_suffixes() {
        let parse = Version::parse;
        assert!(parse("2.9") < parse("2.20"));
        assert!(parse("2.20") < parse("3.0"));
        assert_eq!(parse("2.20"), Some(Version::new(2, 20)));
        assert!(parse("2.20.22-rc.1") > parse("2.20"));
        for bad in ["", "2", "2.", "v2.20", "2.20.", "2.20.x", "2.20.1 ", "2.-1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
