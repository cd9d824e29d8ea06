//! Version constraints in the grammar of Masterminds semver v3, which chart authors know from Helm.
//!
//! The crate `semver` orders versions. The grammar is ours, because that of cargo differs: there is no `||`, a blank does not
//! mean "and", `1.2 - 2.3` is no range, and a bare version is a caret.

use std::cmp::Ordering;

use semver::{BuildMetadata, Prerelease, Version};

/// Reads a version as leniently as Masterminds: `2.9`, `v2.9.1`, `02.9.1`.
pub fn parse_version(text: &str) -> Option<Version> {
    let mut scanner = Scanner { rest: text };
    scanner.eat('v');
    let mut numbers = [0; 3];
    for (index, number) in numbers.iter_mut().enumerate() {
        if index > 0 && !scanner.eat('.') {
            break;
        }
        *number = scanner.take_while(|c| c.is_ascii_digit()).parse().ok()?;
    }
    let [major, minor, patch] = numbers;
    let (pre, build) = scanner.suffixes()?;
    scanner.rest.is_empty().then_some(Version {
        major,
        minor,
        patch,
        pre,
        build,
    })
}

/// Alternatives (`||`), each a list of comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    alternatives: Vec<Vec<Comparison>>,
}

/// A text is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImproperConstraint {
    text: String,
}

impl std::fmt::Display for ImproperConstraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "improper constraint: {}", self.text)
    }
}

impl std::error::Error for ImproperConstraint {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The longer of two that begin alike comes first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

/// Which part of a version was left out or written as `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    None,
    Patch,
    Minor,
    Major,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    wildcard: Wildcard,
}

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// The text is not one.
    pub fn parse(text: &str) -> Result<Self, ImproperConstraint> {
        let alternatives: Option<Vec<_>> = text.split("||").map(all_of).collect();
        match alternatives {
            Some(alternatives) => Ok(Self { alternatives }),
            None => Err(ImproperConstraint {
                text: text.to_owned(),
            }),
        }
    }

    /// Whether a version satisfies it. A pre-release satisfies only comparisons that name a pre-release themselves.
    pub fn allows(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|comparisons| {
            comparisons
                .iter()
                .all(|comparison| comparison.allows(version))
        })
    }
}

/// Comparisons separated by blanks or commas. At least one.
fn all_of(text: &str) -> Option<Vec<Comparison>> {
    let mut scanner = Scanner { rest: text };
    let mut comparisons = Vec::new();
    scanner.blanks();
    loop {
        let operator = scanner.operator();
        scanner.blanks();
        let first = scanner.partial()?;
        let after = scanner.rest;
        let blank = scanner.blanks();
        match scanner.range_end(operator.is_none() && blank) {
            Some(last) => {
                comparisons.push(first.compared(Operator::GreaterOrEqual));
                comparisons.push(last.compared(Operator::LessOrEqual));
                scanner.blanks();
            }
            None => {
                scanner.rest = after;
                comparisons.push(first.compared(operator.unwrap_or(Operator::Equal)));
            }
        }
        let separated = scanner.blanks();
        let comma = scanner.eat(',');
        scanner.blanks();
        if scanner.rest.is_empty() {
            return (!comma).then_some(comparisons);
        }
        if !separated && !comma && !after.starts_with(BLANKS) {
            return None;
        }
    }
}

/// A version with parts left out.
struct Partial {
    version: Version,
    wildcard: Wildcard,
}

impl Partial {
    fn compared(self, operator: Operator) -> Comparison {
        Comparison {
            operator,
            version: self.version,
            wildcard: self.wildcard,
        }
    }
}

const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) -> bool {
        !self.take_while(|c| BLANKS.contains(&c)).is_empty()
    }

    fn operator(&mut self) -> Option<Operator> {
        let (text, operator) = OPERATORS
            .iter()
            .find(|(text, _)| self.rest.starts_with(text))?;
        self.rest = self.rest.strip_prefix(text)?;
        Some(*operator)
    }

    /// The ` - 2.3` of `1.2 - 2.3`, behind the first blank.
    fn range_end(&mut self, possible: bool) -> Option<Partial> {
        if possible && self.eat('-') && self.blanks() {
            self.partial()
        } else {
            None
        }
    }

    /// Dotted identifiers after the character that introduces them.
    fn identifiers(&mut self, introduction: char) -> &'t str {
        if self.eat(introduction) {
            self.take_while(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        } else {
            ""
        }
    }

    fn suffixes(&mut self) -> Option<(Prerelease, BuildMetadata)> {
        let before = self.rest;
        let pre = self.identifiers('-');
        let build = self.identifiers('+');
        if before.starts_with('-') && pre.is_empty() || before.ends_with('+') {
            return None;
        }
        Some((Prerelease::new(pre).ok()?, BuildMetadata::new(build).ok()?))
    }

    fn partial(&mut self) -> Option<Partial> {
        self.eat('v');
        let mut numbers = [0; 3];
        let levels = [Wildcard::Major, Wildcard::Minor, Wildcard::Patch];
        let mut wildcard = Wildcard::None;
        let mut ended = false;
        for (index, (number, level)) in numbers.iter_mut().zip(levels).enumerate() {
            if index > 0 && (ended || !self.eat('.')) {
                ended = true;
            }
            let part = if ended {
                ""
            } else {
                self.take_while(|c| c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*'))
            };
            if part.is_empty() && !ended {
                return None;
            }
            let any = part.is_empty() || matches!(part, "x" | "X" | "*");
            if wildcard != Wildcard::None {
                // Behind a wildcard nothing counts: `X.9` is `X`.
            } else if any {
                wildcard = level;
            } else {
                *number = part.parse().ok()?;
            }
        }
        let [major, minor, patch] = numbers;
        let (pre, build) = self.suffixes()?;
        Some(Partial {
            version: Version {
                major,
                minor,
                patch,
                pre,
                build,
            },
            wildcard,
        })
    }
}

impl Comparison {
    fn allows(&self, version: &Version) -> bool {
        let exact = self.wildcard == Wildcard::None;
        let ignores_prereleases = !(exact && self.operator == Operator::NotEqual);
        if ignores_prereleases && !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Equal if exact => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => order != Ordering::Less && self.tilde(version),
            Operator::NotEqual if exact => order != Ordering::Equal,
            Operator::NotEqual => self.not_in_wildcard(version),
            Operator::Greater => self.greater(version, order),
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::LessOrEqual => self.less_or_equal(version, order),
            Operator::Caret => order != Ordering::Less && self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let zero = (self.version.major, self.version.minor, self.version.patch) == (0, 0, 0);
        if zero && matches!(self.wildcard, Wildcard::None | Wildcard::Major) {
            return true;
        }
        version.major == self.version.major
            && (version.minor == self.version.minor || self.wildcard == Wildcard::Minor)
    }

    fn not_in_wildcard(&self, version: &Version) -> bool {
        if version.major != self.version.major {
            return true;
        }
        match self.wildcard {
            Wildcard::Minor => false,
            _ if version.minor != self.version.minor => true,
            Wildcard::Patch => version.pre != self.version.pre,
            _ => version.patch != self.version.patch || version.pre != self.version.pre,
        }
    }

    fn greater(&self, version: &Version, order: Ordering) -> bool {
        match self.wildcard {
            Wildcard::None => order == Ordering::Greater,
            _ if version.major != self.version.major => version.major > self.version.major,
            Wildcard::Minor => false,
            Wildcard::Patch => version.minor > self.version.minor,
            Wildcard::Major => order == Ordering::Greater,
        }
    }

    fn less_or_equal(&self, version: &Version, order: Ordering) -> bool {
        match self.wildcard {
            Wildcard::None => order != Ordering::Greater,
            _ if version.major != self.version.major => version.major < self.version.major,
            Wildcard::Minor => true,
            _ => version.minor <= self.version.minor,
        }
    }

    fn caret(&self, version: &Version) -> bool {
        let own = &self.version;
        if own.major > 0 || self.wildcard == Wildcard::Minor {
            version.major == own.major
        } else if version.major > 0 {
            false
        } else if own.minor > 0 || self.wildcard == Wildcard::Patch {
            version.minor == own.minor
        } else {
            version.minor == 0 && version.patch == own.patch
        }
    }
}
