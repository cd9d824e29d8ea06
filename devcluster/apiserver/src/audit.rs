//! What clients asked to change: one record per request that is not a read.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{ApiRequest, Method};

/// A request that asked for a change, and what came of it. Bodies are left out: they may hold Secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When it was answered, by the clock of the server.
    pub time: String,
    /// What the client calls itself, empty when it does not say.
    pub user_agent: String,
    /// The field manager the request names, empty when it names none.
    pub field_manager: String,
    /// `create`, `replace`, `apply`, `patch` or `delete`.
    pub verb: String,
    /// The path, which names the resource, the object and the subresource.
    pub path: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Whether anything is different afterwards; a write of what is there already changes nothing.
    pub changed: bool,
}

impl AuditRecord {
    /// The record of an answered request, none for reads.
    pub(crate) fn of(
        request: &ApiRequest,
        code: u16,
        changed: bool,
        time: Timestamp,
    ) -> Option<Self> {
        let verb = match request.method {
            Method::Get | Method::Head => return None,
            Method::Post => "create",
            Method::Put => "replace",
            Method::Patch if request.content_type.contains("apply-patch") => "apply",
            Method::Patch => "patch",
            Method::Delete => "delete",
        };
        let mut query = request.query.iter();
        let manager = query.find(|(key, _)| key == "fieldManager");
        Some(Self {
            // As many digits each time, so that the order of the texts is that of the times.
            time: format!("{time:.6}"),
            user_agent: request.user_agent.clone(),
            field_manager: manager.map(|(_, name)| name.clone()).unwrap_or_default(),
            verb: verb.to_owned(),
            path: format!("/{}", request.path.join("/")),
            code,
            changed,
        })
    }
}

/// Takes the records, on the thread that answers: it must not block for long.
#[derive(Clone)]
pub struct Audit(Arc<dyn Fn(AuditRecord) + Send + Sync>);

impl Audit {
    /// An audit made of a function.
    pub fn new(take: impl Fn(AuditRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn take(&self, record: AuditRecord) {
        (self.0)(record);
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
