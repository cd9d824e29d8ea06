//! Status of kinds whose controller owns all of it.

use super::apply::{Kind, WriteError, write_status};
use super::context::Context;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

/// Writes a status, if it differs; fields in `removable` are cleared when they are unset.
///
/// # Errors
/// [`WriteError`] when the server refuses.
pub async fn write_whole_status<K: Kind>(
    context: &Context,
    manager: &str,
    observed: &K,
    status: &impl serde::Serialize,
    removable: &[&str],
) -> Result<(), WriteError> {
    let mut fields = serde_json::to_value(status).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        for name in removable {
            fields.entry((*name).to_owned()).or_insert(Value::Null);
        }
    }
    write_status(&context.client, manager, observed, fields).await?;
    Ok(())
}

/// Times in the API have whole seconds.
#[must_use]
pub fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
