//! A copy of the rows that the agent needs, kept up to date by notifications.
//!
//! What the database sends is not trusted: a row that is not what the schema says is an error, never a panic, and only the
//! columns asked for are kept.

use crate::core::observed::{Bridge, Port};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Tables and columns that are watched. Columns that change all the time, statistics above all, are not among them.
const TABLES: [(&str, &[&str]); 4] = [
    ("Open_vSwitch", &["ovs_version"]),
    ("Bridge", &["name", "ports", "fail_mode"]),
    ("Port", &["name", "interfaces", "external_ids"]),
    (
        "Interface",
        &["name", "ofport", "error", "options", "external_ids"],
    ),
];

/// The database sent what its schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database sent {what} in column {column} of table {table}")]
pub struct MirrorError {
    what: &'static str,
    table: String,
    column: String,
}

type Rows = BTreeMap<String, Map<String, Value>>;

/// The copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mirror {
    tables: BTreeMap<&'static str, Rows>,
}

/// What the agent reads from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Bridges by name.
    pub bridges: BTreeMap<String, Bridge>,
    /// Ports by name.
    pub ports: BTreeMap<String, Port>,
    /// Row ids of the ports by name.
    pub port_rows: BTreeMap<String, String>,
    /// Version of Open vSwitch.
    pub version: Option<String>,
}

/// What to ask for in a monitor request.
#[must_use]
pub fn monitored() -> Value {
    let table = |(name, columns): (&str, &[&str])| (name.to_owned(), json!([{"columns": columns}]));
    Value::Object(TABLES.map(table).into_iter().collect())
}

impl Mirror {
    /// Takes table updates: the reply to a monitor request, or a notification.
    ///
    /// # Errors
    /// [`MirrorError`] when they are not of the form that RFC 7047 gives them; the mirror is then useless.
    pub fn update(&mut self, updates: &Value) -> Result<(), MirrorError> {
        let wrong = |what, table: &str| MirrorError {
            what,
            table: table.to_owned(),
            column: "(all)".to_owned(),
        };
        let updates = updates
            .as_object()
            .ok_or_else(|| wrong("no table updates", "(all)"))?;
        for (name, _) in TABLES {
            let Some(changes) = updates.get(name) else {
                continue;
            };
            let changes = changes.as_object().ok_or_else(|| wrong("no rows", name))?;
            let rows = self.tables.entry(name).or_default();
            for (id, change) in changes {
                match change.get("new") {
                    Some(Value::Object(row)) => {
                        rows.insert(id.clone(), row.clone());
                    }
                    None | Some(Value::Null) => {
                        rows.remove(id);
                    }
                    Some(_) => return Err(wrong("a row that is no object", name)),
                }
            }
        }
        Ok(())
    }

    /// Reads bridges and ports out of the rows.
    ///
    /// A reference to a row that is not there is skipped: an update brings tables in any order.
    ///
    /// # Errors
    /// [`MirrorError`] when a column has a type that the schema does not allow.
    pub fn snapshot(&self) -> Result<Snapshot, MirrorError> {
        let mut snapshot = Snapshot::default();
        for row in self.rows("Open_vSwitch").values() {
            let version = Column::new("Open_vSwitch", "ovs_version", row).set()?;
            snapshot.version = version.first().and_then(Value::as_str).map(str::to_owned);
        }
        for row in self.rows("Bridge").values() {
            let name = Column::new("Bridge", "name", row).text()?;
            let fail_mode = Column::new("Bridge", "fail_mode", row).set()?;
            let fail_mode = fail_mode.first().and_then(Value::as_str).map(str::to_owned);
            for id in Column::new("Bridge", "ports", row).references()? {
                let Some(port) = self.rows("Port").get(&id) else {
                    continue;
                };
                let (port_name, port) = self.port(&name, port)?;
                snapshot.port_rows.insert(port_name.clone(), id);
                snapshot.ports.insert(port_name, port);
            }
            snapshot.bridges.insert(name, Bridge { fail_mode });
        }
        Ok(snapshot)
    }

    fn rows(&self, table: &'static str) -> &Rows {
        static NONE: Rows = Rows::new();
        self.tables.get(table).unwrap_or(&NONE)
    }

    fn port(&self, bridge: &str, row: &Map<String, Value>) -> Result<(String, Port), MirrorError> {
        let mut port = Port {
            bridge: bridge.to_owned(),
            port_ids: Column::new("Port", "external_ids", row).map()?,
            ..Port::default()
        };
        let name = Column::new("Port", "name", row).text()?;
        let interfaces = Column::new("Port", "interfaces", row).references()?;
        let interfaces = interfaces
            .iter()
            .filter_map(|id| self.rows("Interface").get(id));
        // A bond has several; the one that is called like the port speaks for it, or else the first.
        for (index, interface) in interfaces.enumerate() {
            let same = Column::new("Interface", "name", interface).text()? == name;
            if index > 0 && !same {
                continue;
            }
            let number = Column::new("Interface", "ofport", interface).set()?;
            port.number = number.first().and_then(Value::as_i64);
            let error = Column::new("Interface", "error", interface).set()?;
            port.error = error.first().and_then(Value::as_str).map(str::to_owned);
            port.options = Column::new("Interface", "options", interface).map()?;
            port.interface_ids = Column::new("Interface", "external_ids", interface).map()?;
        }
        Ok((name, port))
    }
}

/// A value of a row.
struct Column<'a> {
    table: &'a str,
    column: &'a str,
    value: Option<&'a Value>,
}

impl<'a> Column<'a> {
    fn new(table: &'a str, column: &'a str, row: &'a Map<String, Value>) -> Self {
        Self {
            table,
            column,
            value: row.get(column),
        }
    }

    fn wrong(&self, what: &'static str) -> MirrorError {
        MirrorError {
            what,
            table: self.table.to_owned(),
            column: self.column.to_owned(),
        }
    }

    fn text(&self) -> Result<String, MirrorError> {
        let text = self.value.and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.wrong("no text"))
    }

    /// The content behind a word: `["set", content]`.
    fn tagged(&self, word: &str) -> Option<&'a Vec<Value>> {
        match self.value?.as_array()?.as_slice() {
            [Value::String(found), Value::Array(content)] if found == word => Some(content),
            _ => None,
        }
    }

    /// A set; a single value stands for a set of one, a missing one for none.
    fn set(&self) -> Result<&'a [Value], MirrorError> {
        match (self.value, self.tagged("set")) {
            (None, _) => Ok(&[]),
            (_, Some(values)) => Ok(values),
            (Some(Value::Object(_) | Value::Null), _) => Err(self.wrong("no set")),
            (Some(one), _) => Ok(std::slice::from_ref(one)),
        }
    }

    fn references(&self) -> Result<Vec<String>, MirrorError> {
        let reference = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([Value::String(word), Value::String(id)]) if word == "uuid" => Ok(id.clone()),
            _ => Err(self.wrong("something else than a reference")),
        };
        self.set()?.iter().map(reference).collect()
    }

    fn map(&self) -> Result<BTreeMap<String, String>, MirrorError> {
        if self.value.is_none() {
            return Ok(BTreeMap::new());
        }
        let pairs = self.tagged("map").ok_or_else(|| self.wrong("no map"))?;
        let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
            Some([Value::String(key), Value::String(value)]) => Ok((key.clone(), value.clone())),
            _ => Err(self.wrong("something else than a pair of texts")),
        };
        pairs.iter().map(pair).collect()
    }
}
