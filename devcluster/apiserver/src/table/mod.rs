//! The table form of objects: what `kubectl get` prints.

pub mod age;
pub mod columns;
mod others;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use columns::Column;

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowObject {
    /// Nothing.
    None,
    /// Only metadata.
    Metadata,
    /// Everything.
    Full,
}

impl RowObject {
    /// Reads the `includeObject` parameter.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("None") => Self::None,
            Some("Object") => Self::Full,
            _ => Self::Metadata,
        }
    }
}

/// The metadata form of an object.
pub fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default()})
}

/// A table of objects. `metadata` is the list's; `with_columns` is false for later events of a watch.
pub fn table(
    columns: &[Column],
    objects: &[&Value],
    metadata: Value,
    include: RowObject,
    with_columns: bool,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| row(columns, object, include, now))
        .collect();
    let definitions = match with_columns {
        true => columns.iter().map(Column::definition).collect(),
        false => Value::Null,
    };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows})
}

fn row(columns: &[Column], object: &Value, include: RowObject, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns.iter().map(|c| c.cell(object, now)).collect();
    match include {
        RowObject::None => json!({"cells": cells, "object": null}),
        RowObject::Metadata => json!({"cells": cells, "object": partial(object)}),
        RowObject::Full => json!({"cells": cells, "object": object}),
    }
}
