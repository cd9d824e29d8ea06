//! Empty requests and responses, so that authors write only the fields they mean.

use crate::{Deployment, Descriptor, chain, check, values};

macro_rules! empty {
    ($($type:ty { $($field:ident: $value:expr),+ $(,)? })+) => {
        $(impl Default for $type {
            fn default() -> Self {
                Self { $($field: $value),+ }
            }
        })+
    };
}

fn no_settings() -> String {
    "{}".to_owned()
}

empty! {
    Deployment { namespace: String::new(), name: String::new() }
    Descriptor {
        name: String::new(),
        version: String::new(),
        vendor: String::new(),
        description: String::new(),
        annotations: Vec::new(),
    }
    values::Service { name: String::new(), template: String::new(), configuration: String::new() }
    values::Dependency { name: String::new(), object_name: String::new(), namespace: String::new() }
    values::Request {
        settings: no_settings(),
        deployment: Deployment::default(),
        service: values::Service::default(),
        template_values: None,
        configuration_values: None,
        render: false,
        delimiters: None,
        dependencies: Vec::new(),
        annotations: Vec::new(),
    }
    values::Response {
        configuration_values: None,
        values: None,
        findings: Vec::new(),
        annotations: Vec::new(),
    }
    check::Service {
        name: String::new(),
        template: String::new(),
        constraints: Vec::new(),
        resource_requirements: Vec::new(),
        in_cluster: false,
    }
    check::Provided { kind: String::new(), name: String::new(), versions: Vec::new() }
    check::Resources { flavor: String::new(), total: Vec::new(), reserved: Vec::new() }
    check::Request {
        settings: no_settings(),
        deployment: Deployment::default(),
        services: Vec::new(),
        provided: check::Provided::default(),
        resources: None,
        annotations: Vec::new(),
    }
    chain::Ipam { match_labels: Vec::new(), default_gateway: None, set_default_route: None }
    chain::Switch { ports: Vec::new(), service_mtu: None }
    chain::Service { name: String::new(), service_id: String::new(), interfaces: Vec::new() }
    chain::Request {
        settings: no_settings(),
        deployment: Deployment::default(),
        switches: Vec::new(),
        services: Vec::new(),
        annotations: Vec::new(),
    }
    chain::ChainPort { match_labels: Vec::new(), ipam: None }
    chain::ChainSwitch { ports: Vec::new(), service_mtu: None }
    chain::Response { switches: Vec::new(), findings: Vec::new(), annotations: Vec::new() }
}
