//! What a test found, for people.

use std::fmt;

use dpf_engine::{Descriptor, Stage, Usage};

use crate::outcome::Outcome;

/// What a test found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Who the plugin says it is.
    pub descriptor: Descriptor,
    /// The stage it was tested for.
    pub stage: Stage,
    /// `sha256:` and the digest of the component.
    pub digest: String,
    /// The size of the component.
    pub component_bytes: usize,
    /// What is wrong whatever the case.
    pub problems: Vec<String>,
    /// The cases, in the order of their names.
    pub cases: Vec<CaseReport>,
}

/// What a test found about one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// What the plugin answered, unless it was at fault.
    pub outcome: Option<Outcome>,
    /// What the first call cost; nothing when settings were refused.
    pub usage: Option<Usage>,
    /// Whether the answer was made the expected one.
    pub blessed: bool,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl CaseReport {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            outcome: None,
            usage: None,
            blessed: false,
            problems: Vec::new(),
        }
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.cases.iter().all(|case| case.problems.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = &self.descriptor;
        writeln!(
            f,
            "{} {} by {}, stage {}, {}, {}",
            who.name,
            who.version,
            who.vendor,
            self.stage,
            size(self.component_bytes),
            self.digest
        )?;
        for problem in &self.problems {
            writeln!(f, "FAILED {problem}")?;
        }
        let width = self.cases.iter().map(|case| case.name.len()).max();
        let width = width.unwrap_or_default().max("CASE".len());
        writeln!(
            f,
            "\n{:width$}  {:8}  {:>9}  {:>13}  {:>9}  RESULT",
            "CASE", "ANSWER", "TIME", "FUEL", "MEMORY"
        )?;
        for case in &self.cases {
            case.line(f, width)?;
        }
        let failed = self
            .cases
            .iter()
            .filter(|case| !case.problems.is_empty())
            .count();
        let passed = self.cases.len() - failed;
        write!(f, "\n{passed} passed, {failed} failed")
    }
}

impl CaseReport {
    fn line(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let answer = self.outcome.as_ref().map_or("fault", Outcome::kind);
        let none = || "-".to_owned();
        let time = self.usage.map_or_else(none, |it| {
            format!("{:.2} ms", it.duration.as_secs_f64() * 1e3)
        });
        let fuel = self.usage.and_then(|it| it.fuel);
        let fuel = fuel.map_or_else(none, |fuel| fuel.to_string());
        let memory = self.usage.map_or_else(none, |it| size(it.memory_bytes));
        let result = match (self.problems.is_empty(), self.blessed) {
            (true, true) => "blessed",
            (true, false) => "ok",
            (false, _) => "FAILED",
        };
        writeln!(
            f,
            "{:width$}  {answer:8}  {time:>9}  {fuel:>13}  {memory:>9}  {result}",
            self.name
        )?;
        for problem in &self.problems {
            writeln!(f, "  {}", problem.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// A number of bytes for people.
pub fn size(bytes: usize) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut amount = f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if amount < 10.0 && unit > 0 {
        format!("{amount:.1} {name}")
    } else {
        format!("{amount:.0} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 150 << 10, 1_300_000, 19_320_844, 3 << 30].map(size);
        assert_eq!(
            sizes,
            [
                "0 B", "1023 B", "1 KiB", "150 KiB", "1.2 MiB", "18 MiB", "3.0 GiB"
            ]
        );
    }
}
