//! From the tree to text.

use super::age::since;
use super::object::Condition;
use super::tree::{Group, Node, Object, Row};
use jiff::Timestamp;

/// Width at which messages wrap.
const MESSAGE_WIDTH: usize = 100;
/// Space between columns.
const GAP: &str = "  ";
/// Titles of the columns.
const TITLES: [&str; 6] = ["NAME", "NAMESPACE", "STATUS", "REASON", "SINCE", "MESSAGE"];

/// Which objects list their conditions one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ShowConditions {
    /// Open conditions of objects that are not ready.
    #[default]
    #[value(skip)]
    Open,
    /// All conditions of all objects.
    All,
    /// All conditions of the objects that are not ready.
    Failed,
}

/// How the table looks.
#[derive(Clone, Debug, Default)]
pub struct Appearance {
    /// Which objects list their conditions.
    pub show: ShowConditions,
    /// Whether to use colour.
    pub colour: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Colour {
    #[default]
    Plain,
    Bold,
    Gray,
    Green,
    Red,
    Yellow,
    Cyan,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Gray => "90",
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

/// Pieces of text of one cell, each with its colour.
#[derive(Clone, Debug, Default)]
struct Cell(Vec<(String, Colour)>);

impl Cell {
    fn new(text: impl Into<String>, colour: Colour) -> Self {
        Self(vec![(text.into(), colour)])
    }

    fn then(mut self, text: impl Into<String>, colour: Colour) -> Self {
        self.0.push((text.into(), colour));
        self
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.chars().count()).sum()
    }
}

type Line = [Cell; 6];

/// The tree as a table with the columns of `TITLES`; ends with a newline.
#[must_use]
pub fn render(roots: &[Node], appearance: &Appearance, now: Timestamp) -> String {
    let mut table = Table {
        lines: vec![TITLES.map(|title| Cell::new(title, Colour::Plain))],
        show: appearance.show,
        now,
    };
    for root in roots {
        table.node(root, "", "");
    }
    write(&table.lines, appearance.colour)
}

fn write(lines: &[Line], colour: bool) -> String {
    let mut widths = [0; 6];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(widths) {
            for (piece, style) in &cell.0 {
                if colour && *style != Colour::Plain && !piece.is_empty() {
                    row.push_str(&format!("\u{1b}[{}m{piece}\u{1b}[0m", style.code()));
                } else {
                    row.push_str(piece);
                }
            }
            row.push_str(&" ".repeat(width.saturating_sub(cell.width())));
            row.push_str(GAP);
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

struct Table {
    lines: Vec<Line>,
    show: ShowConditions,
    now: Timestamp,
}

impl Table {
    /// `own` stands before this row, `below` before everything under it.
    fn node(&mut self, node: &Node, own: &str, below: &str) {
        let pipe = if node.children.is_empty() {
            "  "
        } else {
            "│ "
        };
        let continued = format!("{below}{pipe}");
        let prefix = Cell::new(own, Colour::Gray);
        match &node.row {
            Row::Header(title) => {
                let mut line = Line::default();
                let [name, ..] = &mut line;
                *name = prefix.then(*title, Colour::Plain);
                self.lines.push(line);
            }
            Row::Object(object) => self.object(object, prefix, &continued),
            Row::Group(group) => self.group(group, prefix, &continued),
        }
        let last = node.children.len().saturating_sub(1);
        for (index, child) in node.children.iter().enumerate() {
            let (branch, pipe) = if index == last {
                ("└─", "  ")
            } else {
                ("├─", "│ ")
            };
            let own = format!("{below}{branch}");
            let deeper = format!("{below}{pipe}");
            self.node(child, &own, &deeper);
        }
    }

    fn group(&mut self, group: &Group, prefix: Cell, continued: &str) {
        let title = format!("{} {}s...", group.names.len(), group.kind);
        let mut condition = group.ready.clone();
        condition.message = format!("See {}", group.names.join(", "));
        let name = prefix.then(title, Colour::Bold);
        self.summary(name, &group.namespace, &condition, continued);
    }

    fn object(&mut self, object: &Object, prefix: Cell, continued: &str) {
        let mut name = prefix;
        if object.metadata.deletion_timestamp.is_some() {
            name = name.then("!! IN DELETION !! ", Colour::Red);
        }
        let name = name
            .then(format!("{}/", object.kind), Colour::Plain)
            .then(object.name(), Colour::Bold);
        let listed = self.listed(object);
        match object.ready() {
            Some(ready) if listed.is_empty() => {
                self.summary(name, object.namespace(), ready, continued);
            }
            _ => {
                let mut line = Line::default();
                let [first, second, ..] = &mut line;
                *first = name;
                *second = Cell::new(object.namespace(), Colour::Plain);
                self.lines.push(line);
            }
        }
        let last = listed.len().saturating_sub(1);
        for (index, condition) in listed.iter().enumerate() {
            let branch = if index == last { "└─" } else { "├─" };
            let pipe = if index == last { "  " } else { "│ " };
            let indent = " ".repeat(10);
            let name = Cell::new(format!("{continued}{indent}{branch}"), Colour::Gray)
                .then(condition.type_.clone(), Colour::Cyan);
            let status = Cell::new(condition.status.clone(), colour_of(condition));
            let continued = format!("{continued}{indent}{pipe}");
            self.row(name, "", status, condition, &continued);
        }
    }

    /// Conditions that get a line of their own: `Ready` first, the others in the order of the object.
    fn listed(&self, object: &Object) -> Vec<Condition> {
        let failed = object.ready().is_none_or(|ready| !ready.is_true());
        let open = |c: &Condition| !c.is_true() && !c.is_untouched();
        let wanted: Vec<_> = match self.show {
            ShowConditions::All => object.conditions.iter().collect(),
            ShowConditions::Failed if failed => object.conditions.iter().collect(),
            ShowConditions::Failed | ShowConditions::Open => {
                let others = |c: &&Condition| c.type_ != "Ready" && open(c);
                let mut list: Vec<_> = object.conditions.iter().filter(others).collect();
                if !list.is_empty() {
                    list.extend(object.ready());
                }
                list
            }
        };
        let (first, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|c| c.type_ == "Ready");
        first.into_iter().chain(rest).cloned().collect()
    }

    fn summary(&mut self, name: Cell, namespace: &str, ready: &Condition, continued: &str) {
        let status = Cell::new(format!("Ready: {}", ready.status), colour_of(ready));
        self.row(name, namespace, status, ready, continued);
    }

    fn row(
        &mut self,
        name: Cell,
        namespace: &str,
        status: Cell,
        condition: &Condition,
        continued: &str,
    ) {
        let age = condition.last_transition_time.map(|t| since(t, self.now));
        let plain = |text: &str| Cell::new(text, Colour::Plain);
        let mut message = wrap(&condition.message).into_iter();
        self.lines.push([
            name,
            plain(namespace),
            status,
            Cell::new(condition.reason.clone(), colour_of(condition)),
            plain(&age.unwrap_or_default()),
            plain(&message.next().unwrap_or_default()),
        ]);
        for more in message {
            let mut line = Line::default();
            let [first, .., last] = &mut line;
            *first = Cell::new(continued, Colour::Gray);
            *last = plain(&more);
            self.lines.push(line);
        }
    }
}

fn colour_of(condition: &Condition) -> Colour {
    match condition.status.as_str() {
        "True" => Colour::Green,
        "False" | "Unknown" if condition.type_.ends_with("Ready") => Colour::Red,
        "False" | "Unknown" if condition.type_.ends_with("Reconciled") => Colour::Yellow,
        "False" | "Unknown" => Colour::Plain,
        _ => Colour::Gray,
    }
}

/// Lines of at most `MESSAGE_WIDTH`; line ends stay, bullets keep their indent, a longer word stands alone.
fn wrap(message: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in message.lines() {
        let hanging = if paragraph.starts_with("* ") {
            "  "
        } else {
            ""
        };
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let room = line.chars().count() + 1 + word.chars().count() <= MESSAGE_WIDTH;
            if line.is_empty() {
                word.clone_into(&mut line);
            } else if room {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(std::mem::replace(&mut line, format!("{hanging}{word}")));
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wrap_at_words_and_keep_bullets() {
        let long = format!("* {}", "abcdefghi ".repeat(15));
        let lines = wrap(&format!("Not ready:\n{long}"));
        assert_eq!(lines[0], "Not ready:");
        assert!(lines[1].starts_with("* abc") && lines[1].chars().count() <= 100);
        assert!(lines[2].starts_with("  abc"));
        assert!(wrap("").is_empty());
        assert_eq!(wrap(&"x".repeat(150)), vec!["x".repeat(150)]);
    }
}
