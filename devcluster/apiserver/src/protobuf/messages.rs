//! Field numbers of the messages kubectl sends as protobuf.

/// How a field is written.
pub enum Kind {
    Text,
    Bytes,
    Bool,
    Integer,
    Time,
    /// Left out when false.
    Flag,
    /// Left out when zero.
    Number,
    Quantity,
    IntOrString,
    /// A message whose fields belong to the one it is in.
    Inline(&'static Message),
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
    EXPRESSION = [text(1, "key"), text(2, "operator"), many(3, "values", Kind::Text)];
    SELECTOR = [one(1, "matchLabels", Kind::Map(&Kind::Text)), many(2, "matchExpressions", Kind::Message(&EXPRESSION))];
    CONTAINER_PORT = [text(1, "name"), one(2, "hostPort", Kind::Number), one(3, "containerPort", Kind::Integer),
        text(4, "protocol"), text(5, "hostIP")];
    KEY_REFERENCE = [one(1, "localObjectReference", Kind::Inline(&LOCAL_REFERENCE)), text(2, "key"),
        one(3, "optional", Kind::Bool)];
    FIELD_REFERENCE = [text(1, "apiVersion"), text(2, "fieldPath")];
    ENV_SOURCE = [message(1, "fieldRef", &FIELD_REFERENCE), message(3, "configMapKeyRef", &KEY_REFERENCE),
        message(4, "secretKeyRef", &KEY_REFERENCE)];
    ENV = [text(1, "name"), text(2, "value"), message(3, "valueFrom", &ENV_SOURCE)];
    RESOURCES = [one(1, "limits", Kind::Map(&Kind::Quantity)), one(2, "requests", Kind::Map(&Kind::Quantity))];
    VOLUME_MOUNT = [text(1, "name"), one(2, "readOnly", Kind::Flag), text(3, "mountPath"), text(4, "subPath")];
    CONTAINER = [text(1, "name"), text(2, "image"), many(3, "command", Kind::Text), many(4, "args", Kind::Text),
        text(5, "workingDir"), many(6, "ports", Kind::Message(&CONTAINER_PORT)), many(7, "env", Kind::Message(&ENV)),
        message(8, "resources", &RESOURCES), many(9, "volumeMounts", Kind::Message(&VOLUME_MOUNT)),
        text(13, "terminationMessagePath"), text(14, "imagePullPolicy"), one(16, "stdin", Kind::Flag),
        one(17, "stdinOnce", Kind::Flag), one(18, "tty", Kind::Flag), text(20, "terminationMessagePolicy")];
    TOLERATION = [text(1, "key"), text(2, "operator"), text(3, "value"), text(4, "effect"),
        one(5, "tolerationSeconds", Kind::Integer)];
    POD_SECURITY = [];
    POD_SPEC = [many(2, "containers", Kind::Message(&CONTAINER)), text(3, "restartPolicy"),
        one(4, "terminationGracePeriodSeconds", Kind::Integer), one(5, "activeDeadlineSeconds", Kind::Integer),
        text(6, "dnsPolicy"), one(7, "nodeSelector", Kind::Map(&Kind::Text)), text(8, "serviceAccountName"),
        text(9, "serviceAccount"), text(10, "nodeName"), one(11, "hostNetwork", Kind::Flag),
        one(12, "hostPID", Kind::Flag), one(13, "hostIPC", Kind::Flag), message(14, "securityContext", &POD_SECURITY),
        many(15, "imagePullSecrets", Kind::Message(&LOCAL_REFERENCE)), text(16, "hostname"), text(17, "subdomain"),
        text(19, "schedulerName"), many(20, "initContainers", Kind::Message(&CONTAINER)),
        one(21, "automountServiceAccountToken", Kind::Bool), many(22, "tolerations", Kind::Message(&TOLERATION)),
        text(24, "priorityClassName"), one(25, "priority", Kind::Integer)];
    TEMPLATE = [message(1, "metadata", &META), message(2, "spec", &POD_SPEC)];
    POD = [message(1, "metadata", &META), message(2, "spec", &POD_SPEC)];
    ROLLING = [one(1, "maxUnavailable", Kind::IntOrString), one(2, "maxSurge", Kind::IntOrString)];
    STRATEGY = [text(1, "type"), message(2, "rollingUpdate", &ROLLING)];
    DEPLOYMENT_SPEC = [one(1, "replicas", Kind::Integer), message(2, "selector", &SELECTOR),
        message(3, "template", &TEMPLATE), message(4, "strategy", &STRATEGY), one(5, "minReadySeconds", Kind::Number),
        one(6, "revisionHistoryLimit", Kind::Integer), one(7, "paused", Kind::Flag),
        one(9, "progressDeadlineSeconds", Kind::Integer)];
    DEPLOYMENT = [message(1, "metadata", &META), message(2, "spec", &DEPLOYMENT_SPEC)];
    JOB_SPEC = [one(1, "parallelism", Kind::Integer), one(2, "completions", Kind::Integer),
        one(3, "activeDeadlineSeconds", Kind::Integer), message(4, "selector", &SELECTOR),
        one(5, "manualSelector", Kind::Bool), message(6, "template", &TEMPLATE), one(7, "backoffLimit", Kind::Integer),
        one(8, "ttlSecondsAfterFinished", Kind::Integer), text(9, "completionMode"), one(10, "suspend", Kind::Bool)];
    JOB = [message(1, "metadata", &META), message(2, "spec", &JOB_SPEC)];
    JOB_TEMPLATE = [message(1, "metadata", &META), message(2, "spec", &JOB_SPEC)];
    CRON_JOB_SPEC = [text(1, "schedule"), one(2, "startingDeadlineSeconds", Kind::Integer),
        text(3, "concurrencyPolicy"), one(4, "suspend", Kind::Bool), message(5, "jobTemplate", &JOB_TEMPLATE),
        one(6, "successfulJobsHistoryLimit", Kind::Integer), one(7, "failedJobsHistoryLimit", Kind::Integer),
        text(8, "timeZone")];
    CRON_JOB = [message(1, "metadata", &META), message(2, "spec", &CRON_JOB_SPEC)];
    SERVICE_PORT = [text(1, "name"), text(2, "protocol"), one(3, "port", Kind::Integer),
        one(4, "targetPort", Kind::IntOrString), one(5, "nodePort", Kind::Number), text(6, "appProtocol")];
    SERVICE_SPEC = [many(1, "ports", Kind::Message(&SERVICE_PORT)), one(2, "selector", Kind::Map(&Kind::Text)),
        text(3, "clusterIP"), text(4, "type"), many(5, "externalIPs", Kind::Text), text(7, "sessionAffinity"),
        text(8, "loadBalancerIP"), text(10, "externalName"), text(11, "externalTrafficPolicy"),
        one(13, "publishNotReadyAddresses", Kind::Flag), many(18, "clusterIPs", Kind::Text)];
    SERVICE = [message(1, "metadata", &META), message(2, "spec", &SERVICE_SPEC)];
    QUOTA_SPEC = [one(1, "hard", Kind::Map(&Kind::Quantity)), many(2, "scopes", Kind::Text)];
    QUOTA = [message(1, "metadata", &META), message(2, "spec", &QUOTA_SPEC)];
    BUDGET_SPEC = [one(1, "minAvailable", Kind::IntOrString), message(2, "selector", &SELECTOR),
        one(3, "maxUnavailable", Kind::IntOrString)];
    BUDGET = [message(1, "metadata", &META), message(2, "spec", &BUDGET_SPEC)];
    PRIORITY_CLASS = [message(1, "metadata", &META), one(2, "value", Kind::Integer),
        one(3, "globalDefault", Kind::Flag), text(4, "description"), text(5, "preemptionPolicy")];
    BACKEND_PORT = [text(1, "name"), one(2, "number", Kind::Number)];
    SERVICE_BACKEND = [text(1, "name"), message(2, "port", &BACKEND_PORT)];
    BACKEND = [message(4, "service", &SERVICE_BACKEND)];
    INGRESS_PATH = [text(1, "path"), message(2, "backend", &BACKEND), text(3, "pathType")];
    INGRESS_PATHS = [many(1, "paths", Kind::Message(&INGRESS_PATH))];
    INGRESS_VALUE = [message(1, "http", &INGRESS_PATHS)];
    INGRESS_RULE = [text(1, "host"), one(2, "value", Kind::Inline(&INGRESS_VALUE))];
    INGRESS_TLS = [many(1, "hosts", Kind::Text), text(2, "secretName")];
    INGRESS_SPEC = [message(1, "defaultBackend", &BACKEND), many(2, "tls", Kind::Message(&INGRESS_TLS)),
        many(3, "rules", Kind::Message(&INGRESS_RULE)), text(4, "ingressClassName")];
    INGRESS = [message(1, "metadata", &META), message(2, "spec", &INGRESS_SPEC)];
    BOUND_OBJECT = [text(1, "kind"), text(2, "apiVersion"), text(3, "name"), text(4, "uid")];
    TOKEN_SPEC = [many(1, "audiences", Kind::Text), message(3, "boundObjectRef", &BOUND_OBJECT),
        one(4, "expirationSeconds", Kind::Integer)];
    TOKEN_REQUEST = [message(1, "metadata", &META), message(2, "spec", &TOKEN_SPEC)];
    SCALE_TARGET = [text(1, "kind"), text(2, "name"), text(3, "apiVersion")];
    METRIC_TARGET = [text(1, "type"), one(2, "value", Kind::Quantity), one(3, "averageValue", Kind::Quantity),
        one(4, "averageUtilization", Kind::Integer)];
    RESOURCE_METRIC = [text(1, "name"), message(2, "target", &METRIC_TARGET)];
    METRIC = [text(1, "type"), message(4, "resource", &RESOURCE_METRIC)];
    AUTOSCALER_SPEC = [message(1, "scaleTargetRef", &SCALE_TARGET), one(2, "minReplicas", Kind::Integer),
        one(3, "maxReplicas", Kind::Integer), many(4, "metrics", Kind::Message(&METRIC))];
    AUTOSCALER = [message(1, "metadata", &META), message(2, "spec", &AUTOSCALER_SPEC)];
    SCALE_SPEC = [one(1, "replicas", Kind::Integer)];
    SCALE = [message(1, "metadata", &META), message(2, "spec", &SCALE_SPEC)];
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
        "Deployment" => &DEPLOYMENT,
        "Job" => &JOB,
        "CronJob" => &CRON_JOB,
        "Pod" => &POD,
        "Service" => &SERVICE,
        "ResourceQuota" => &QUOTA,
        "PodDisruptionBudget" => &BUDGET,
        "PriorityClass" => &PRIORITY_CLASS,
        "Ingress" => &INGRESS,
        "TokenRequest" => &TOKEN_REQUEST,
        "HorizontalPodAutoscaler" => &AUTOSCALER,
        "Scale" => &SCALE,
        "Eviction" => &EVICTION,
        "DeleteOptions" => &DELETE_OPTIONS,
        _ => return None,
    })
}
