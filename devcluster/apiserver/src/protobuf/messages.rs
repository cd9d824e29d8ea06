//! Field numbers of the messages kubectl sends as protobuf.

/// How a field is written.
pub enum Kind {
    Text,
    Bytes,
    Bool,
    Integer,
    Time,
    Message(&'static Message),
    Map(&'static Kind),
}

impl Kind {
    /// The value of a map entry that leaves its value out.
    pub fn empty(&self) -> serde_json::Value {
        match self {
            Self::Message(_) => serde_json::json!({}),
            _ => "".into(),
        }
    }
}

/// One field of a message.
pub struct Field {
    pub number: u64,
    pub name: &'static str,
    pub kind: Kind,
    pub repeated: bool,
}

/// A message: its known fields.
pub struct Message {
    pub fields: &'static [Field],
}

const fn one(number: u64, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        repeated: false,
    }
}

const fn text(number: u64, name: &'static str) -> Field {
    one(number, name, Kind::Text)
}

const fn many(number: u64, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        repeated: true,
    }
}

const fn message(number: u64, name: &'static str, message: &'static Message) -> Field {
    one(number, name, Kind::Message(message))
}

macro_rules! messages {
    ($($name:ident = [$($field:expr),* $(,)?];)*) => {
        $( static $name: Message = Message { fields: &[$($field),*] }; )*
    };
}

messages! {
    OWNER = [text(1, "kind"), text(3, "name"), text(4, "uid"), text(5, "apiVersion"),
        one(6, "controller", Kind::Bool), one(7, "blockOwnerDeletion", Kind::Bool)];
    META = [text(1, "name"), text(2, "generateName"), text(3, "namespace"), text(5, "uid"),
        text(6, "resourceVersion"), one(8, "creationTimestamp", Kind::Time), one(9, "deletionTimestamp", Kind::Time),
        one(11, "labels", Kind::Map(&Kind::Text)), one(12, "annotations", Kind::Map(&Kind::Text)),
        many(13, "ownerReferences", Kind::Message(&OWNER)), many(14, "finalizers", Kind::Text)];
    NAMESPACE_SPEC = [many(1, "finalizers", Kind::Text)];
    NAMESPACE = [message(1, "metadata", &META), message(2, "spec", &NAMESPACE_SPEC)];
    CONFIG_MAP = [message(1, "metadata", &META), one(2, "data", Kind::Map(&Kind::Text)),
        one(3, "binaryData", Kind::Map(&Kind::Bytes)), one(4, "immutable", Kind::Bool)];
    SECRET = [message(1, "metadata", &META), one(2, "data", Kind::Map(&Kind::Bytes)), text(3, "type"),
        one(4, "stringData", Kind::Map(&Kind::Text)), one(5, "immutable", Kind::Bool)];
    LOCAL_REFERENCE = [text(1, "name")];
    OBJECT_REFERENCE = [text(1, "kind"), text(2, "namespace"), text(3, "name"), text(4, "uid"),
        text(5, "apiVersion"), text(6, "resourceVersion"), text(7, "fieldPath")];
    SERVICE_ACCOUNT = [message(1, "metadata", &META), many(2, "secrets", Kind::Message(&OBJECT_REFERENCE)),
        many(3, "imagePullSecrets", Kind::Message(&LOCAL_REFERENCE)),
        one(4, "automountServiceAccountToken", Kind::Bool)];
    POLICY_RULE = [many(1, "verbs", Kind::Text), many(2, "apiGroups", Kind::Text), many(3, "resources", Kind::Text),
        many(4, "resourceNames", Kind::Text), many(5, "nonResourceURLs", Kind::Text)];
    ROLE = [message(1, "metadata", &META), many(2, "rules", Kind::Message(&POLICY_RULE))];
    SUBJECT = [text(1, "kind"), text(2, "apiGroup"), text(3, "name"), text(4, "namespace")];
    ROLE_REF = [text(1, "apiGroup"), text(2, "kind"), text(3, "name")];
    ROLE_BINDING = [message(1, "metadata", &META), many(2, "subjects", Kind::Message(&SUBJECT)),
        message(3, "roleRef", &ROLE_REF)];
    RESOURCE_ATTRIBUTES = [text(1, "namespace"), text(2, "verb"), text(3, "group"), text(4, "version"),
        text(5, "resource"), text(6, "subresource"), text(7, "name")];
    PATH_ATTRIBUTES = [text(1, "path"), text(2, "verb")];
    ACCESS_SPEC = [message(1, "resourceAttributes", &RESOURCE_ATTRIBUTES),
        message(2, "nonResourceAttributes", &PATH_ATTRIBUTES)];
    ACCESS_REVIEW = [message(1, "metadata", &META), message(2, "spec", &ACCESS_SPEC)];
    RULES_SPEC = [text(1, "namespace")];
    RULES_REVIEW = [message(1, "metadata", &META), message(2, "spec", &RULES_SPEC)];
    SELF_REVIEW = [message(1, "metadata", &META)];
    PRECONDITIONS = [text(1, "uid"), text(2, "resourceVersion")];
    DELETE_OPTIONS = [one(1, "gracePeriodSeconds", Kind::Integer), message(2, "preconditions", &PRECONDITIONS),
        one(3, "orphanDependents", Kind::Bool), text(4, "propagationPolicy"), many(5, "dryRun", Kind::Text)];
    EVICTION = [message(1, "metadata", &META), message(2, "deleteOptions", &DELETE_OPTIONS)];
}

/// The table of a kind.
pub fn of_kind(kind: &str) -> Option<&'static Message> {
    Some(match kind {
        "Namespace" => &NAMESPACE,
        "ConfigMap" => &CONFIG_MAP,
        "Secret" => &SECRET,
        "ServiceAccount" => &SERVICE_ACCOUNT,
        "Role" | "ClusterRole" => &ROLE,
        "RoleBinding" | "ClusterRoleBinding" => &ROLE_BINDING,
        "SelfSubjectAccessReview" => &ACCESS_REVIEW,
        "SelfSubjectRulesReview" => &RULES_REVIEW,
        "SelfSubjectReview" => &SELF_REVIEW,
        "Eviction" => &EVICTION,
        "DeleteOptions" => &DELETE_OPTIONS,
        _ => return None,
    })
}
