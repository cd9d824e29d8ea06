//! Validation rules that several kinds of this group share.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A field that can be set once and not changed after that.
pub(crate) fn immutable() -> Value {
    json!([{"rule": "self == oldSelf", "message": "the value cannot be changed once it is set"}])
}

/// An IPv4 address.
pub(crate) fn ipv4_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "ipv4"})
}

/// The port of a BMC.
pub(crate) fn bmc_port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "default": 443})
}

/// A list of objects that are kept as they are and not read.
pub(crate) fn open_list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

/// A duration such as `30s` or `1h30m`.
pub(crate) fn duration_schema(default: &str) -> Schema {
    json_schema!({
        "type": "string",
        "format": "duration",
        "pattern": "^([0-9]+(h|m|s|ms|us|µs|ns))+$",
        "default": default
    })
}
