//! What the checks found, and how bad it is.
//!
//! Owns the names of the checks, the results and their exit codes. Must not know how anything is checked.

use serde::Serialize;

use super::super::output::{self, count};

/// How a check ended, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// All is well.
    Ok,
    /// An earlier finding makes it pointless, or nobody can tell.
    Skipped,
    /// It works, but should not stay so.
    Warning,
    /// It does not work.
    Problem,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What is checked. The spelling is part of the output and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// Whether Kubernetes answers.
    Access,
    /// The CRD of RunaiClusters.
    CrdRunaiclusters,
    /// The CRD of RunaiControlPlanes.
    CrdRunaicontrolplanes,
    /// Rights on objects.
    RbacObjects,
    /// Rights in the operator's own namespace.
    RbacConnections,
    /// Rights for leader election.
    RbacElection,
    /// Whether there are control planes.
    ControlPlanes,
    /// Spec, Secret and CA bundle of a control plane.
    Connection,
    /// Name resolution.
    Dns,
    /// TCP.
    Connect,
    /// Certificate and handshake.
    Tls,
    /// Whether the credentials are good for a token.
    Token,
    /// Whether registrations can be listed.
    List,
    /// Whether the clocks agree.
    Clock,
    /// What the control plane's version can do.
    Capabilities,
}

impl Check {
    /// What needs access to Kubernetes.
    pub(super) const AFTER_ACCESS: &[Self] = &[
        Self::CrdRunaiclusters,
        Self::CrdRunaicontrolplanes,
        Self::RbacObjects,
        Self::RbacConnections,
        Self::RbacElection,
        Self::ControlPlanes,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::CrdRunaiclusters => "crd-runaiclusters",
            Self::CrdRunaicontrolplanes => "crd-runaicontrolplanes",
            Self::RbacObjects => "rbac-objects",
            Self::RbacConnections => "rbac-connections",
            Self::RbacElection => "rbac-election",
            Self::ControlPlanes => "control-planes",
            Self::Connection => "connection",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Token => "token",
            Self::List => "list",
            Self::Clock => "clock",
            Self::Capabilities => "capabilities",
        }
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    /// `kubernetes`, or `control plane NAME`.
    about: String,
    check: Check,
    result: Outcome,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The parts of what was found, where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Document<'a> {
    result: Outcome,
    checks: &'a [Finding],
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document { result: self.worst(), checks: &self.findings }.serialize(serializer)
    }
}

impl Report {
    /// All is well.
    pub(super) fn ok(&mut self, about: &str, check: Check, found: impl Into<String>) {
        self.add(about, check, Outcome::Ok, found.into(), None, Vec::new());
    }

    /// Not checked, and why.
    pub(super) fn skipped(&mut self, about: &str, check: Check, why: impl Into<String>) {
        self.add(about, check, Outcome::Skipped, why.into(), None, Vec::new());
    }

    /// It works, but should not stay so.
    pub(super) fn warning(&mut self, about: &str, check: Check, found: impl Into<String>, advice: impl Into<String>) {
        self.add(about, check, Outcome::Warning, found.into(), Some(advice.into()), Vec::new());
    }

    /// It does not work.
    pub(super) fn problem(&mut self, about: &str, check: Check, found: impl Into<String>, advice: impl Into<String>) {
        self.add(about, check, Outcome::Problem, found.into(), Some(advice.into()), Vec::new());
    }

    /// An error of another part of the program, whose messages end with the way out behind a semicolon. Where this one
    /// has none, `otherwise` is it.
    pub(super) fn failed(&mut self, about: &str, check: Check, message: &str, otherwise: &str) {
        let (found, advice) = message.rsplit_once("; ").unwrap_or((message, otherwise));
        self.problem(about, check, found, advice);
    }

    /// A finding with several parts.
    pub(super) fn listed(
        &mut self,
        about: &str,
        check: Check,
        result: Outcome,
        found: String,
        advice: &str,
        details: Vec<String>,
    ) {
        self.add(about, check, result, found, Some(advice.to_owned()), details);
    }

    fn add(
        &mut self,
        about: &str,
        check: Check,
        result: Outcome,
        found: String,
        advice: Option<String>,
        details: Vec<String>,
    ) {
        // Some of it comes from servers: it must neither break the table nor move the cursor.
        let plain = |text: String| text.replace(|c: char| c.is_control(), " ");
        let (found, advice) = (plain(found), advice.map(plain));
        let details = details.into_iter().map(plain).collect();
        self.findings.push(Finding { about: about.to_owned(), check, result, found, advice, details });
    }

    /// The worst result; what was skipped is as bad as what made it so.
    fn worst(&self) -> Outcome {
        let worst = self.findings.iter().map(|finding| finding.result).max().unwrap_or(Outcome::Ok);
        if worst == Outcome::Skipped { Outcome::Ok } else { worst }
    }

    /// 0 all is well, 1 there are warnings, 2 there are problems.
    pub(super) fn exit_code(&self) -> u8 {
        match self.worst() {
            Outcome::Ok | Outcome::Skipped => 0,
            Outcome::Warning => 1,
            Outcome::Problem => 2,
        }
    }

    /// One line for people.
    pub(super) fn summary(&self) -> String {
        let number = |result: Outcome| self.findings.iter().filter(|finding| finding.result == result).count();
        format!(
            "{}: {} ok, {}, {}, {} skipped",
            count(self.findings.len(), "check"),
            number(Outcome::Ok),
            count(number(Outcome::Warning), "warning"),
            count(number(Outcome::Problem), "problem"),
            number(Outcome::Skipped),
        )
    }

    /// One line for each check, and below it what to do, where something is to be done.
    pub(super) fn table(&self) -> String {
        let row = |finding: &Finding| {
            let details = finding.details.join(", ");
            let found =
                if details.is_empty() { finding.found.clone() } else { format!("{}: {details}", finding.found) };
            vec![finding.result.as_str().to_owned(), finding.about.clone(), finding.check.as_str().to_owned(), found]
        };
        let rows: Vec<_> = self.findings.iter().map(row).collect();
        let table = output::table(&["RESULT", "ABOUT", "CHECK", "FOUND"], &rows);
        let advice = std::iter::once(None).chain(self.findings.iter().map(|finding| finding.advice.as_deref()));
        let line = |(line, advice): (&str, Option<&str>)| {
            let below = advice.map_or_else(String::new, |advice| format!("  what to do: {advice}\n"));
            format!("{line}\n{below}")
        };
        table.lines().zip(advice).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_result_decides_and_skipped_checks_do_not() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), 0);
        report.ok("a", Check::Dns, "x");
        report.skipped("a", Check::Tls, "x");
        assert_eq!(report.exit_code(), 0);
        report.warning("a", Check::Clock, "x", "y");
        report.skipped("a", Check::List, "x");
        assert_eq!(report.exit_code(), 1);
        report.problem("a", Check::Token, "x", "y");
        report.warning("a", Check::Clock, "x", "y");
        assert_eq!(report.exit_code(), 2);
        assert_eq!(report.summary(), "6 checks: 1 ok, 2 warnings, 1 problem, 2 skipped");
    }

    #[test]
    fn a_message_is_split_where_its_way_out_begins_and_cannot_break_the_table() {
        let mut report = Report::default();
        report.failed("a", Check::Token, "refused (\"a; b\"); check it", "other");
        report.failed("a", Check::Token, "no\nway\u{1b}[2J", "other");
        let lines: Vec<_> = report.table().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].ends_with("   refused (\"a; b\")") && lines[2] == "  what to do: check it", "{lines:?}");
        assert!(lines[3].ends_with("   no way [2J") && lines[4] == "  what to do: other", "{lines:?}");
    }

    #[test]
    fn the_spelling_is_the_same_in_all_formats() {
        for &check in Check::AFTER_ACCESS.iter().chain(&[Check::Access, Check::Connection, Check::Capabilities]) {
            assert_eq!(serde_json::json!(check), check.as_str());
        }
    }
}
