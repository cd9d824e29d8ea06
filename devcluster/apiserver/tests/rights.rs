//! Who may do what: roles, tokens of ServiceAccounts, client certificates, impersonation, and access reviews.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::net::SocketAddr;

use dpf_apiserver::{ApiServer, Listening, Options, Tls, Token};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn server() -> ApiServer {
    ApiServer::new(Options {
        tokens: vec![Token::admin("boss")],
        anonymous: false,
        ..Options::default()
    })
}

async fn listening(server: &ApiServer) -> Listening {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    server.listen(loopback, Tls::SelfSigned).await.unwrap()
}

async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn client(server: &ApiServer) -> Client {
    Client::new(server.service(), "default")
}

fn robot(server: &ApiServer) -> Client {
    let service = server.service_as(
        "system:serviceaccount:default:robot",
        vec!["system:serviceaccounts".into()],
    );
    Client::new(service, "default")
}

fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> String {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => status.message.clone(),
        other => format!("not refused: {other:?}"),
    }
}

/// Gives the robot these rules in the default namespace.
async fn allow(server: &ApiServer, rules: Value) {
    let roles: Api<Role> = Api::default_namespaced(client(server));
    let bindings: Api<RoleBinding> = Api::default_namespaced(client(server));
    let apply = PatchParams::apply("test").force();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": rules});
    roles.patch("r", &apply, &Patch::Apply(role)).await.unwrap();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    bindings
        .patch("b", &apply, &Patch::Apply(binding))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let server = server();
    let maps: Api<ConfigMap> = Api::default_namespaced(robot(&server));
    let said = refusal(maps.list(&ListParams::default()).await);
    assert_eq!(
        said,
        "configmaps is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"configmaps\" in \
         API group \"\" in the namespace \"default\""
    );
    let rule =
        |verbs: Value| json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]);
    allow(&server, rule(json!(["get", "list", "create", "delete"]))).await;
    let map: ConfigMap = object(json!({"metadata": {"name": "m"}}));
    maps.create(&PostParams::default(), &map).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    // One verb less fails, at once.
    allow(&server, rule(json!(["get", "list", "create"]))).await;
    let said = refusal(maps.delete("m", &DeleteParams::default()).await);
    assert!(
        said.starts_with("configmaps \"m\" is forbidden: "),
        "{said}"
    );
    let elsewhere: Api<ConfigMap> = Api::namespaced(robot(&server), "kube-system");
    assert!(refusal(elsewhere.list(&ListParams::default()).await).contains("kube-system"));
}

#[tokio::test]
async fn subresources_and_names_are_rights_of_their_own() {
    let server = server();
    let pods: Api<Pod> = Api::default_namespaced(client(&server));
    let pod: Pod = object(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    pods.create(&PostParams::default(), &pod).await.unwrap();
    allow(
        &server,
        json!([{"apiGroups": [""], "resources": ["pods/status"], "resourceNames": ["p"], "verbs": ["patch"]}]),
    )
    .await;
    let pods: Api<Pod> = Api::default_namespaced(robot(&server));
    let patch = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("p", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(refusal(pods.patch("p", &PatchParams::default(), &patch).await).contains("\"pods\""));
    let said = refusal(
        pods.patch_status("q", &PatchParams::default(), &patch)
            .await,
    );
    assert!(
        said.contains("cannot patch resource \"pods/status\""),
        "{said}"
    );
}

#[tokio::test]
async fn cluster_roles_are_put_together_by_label() {
    let server = server();
    let roles: Api<ClusterRole> = Api::all(client(&server));
    let part = object(json!({"metadata": {"name": "gears-view",
        "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["test.example.com"], "resources": ["gears"], "verbs": ["list"]}]}));
    roles.create(&PostParams::default(), &part).await.unwrap();
    // edit contains view, admin contains edit.
    for name in ["view", "edit", "admin"] {
        let rules = roles.get(name).await.unwrap().rules.unwrap();
        let named = |group: &str| {
            rules
                .iter()
                .any(|r| r.api_groups.as_deref() == Some(&[group.to_owned()]))
        };
        assert!(
            named("test.example.com") && named("apps"),
            "{name}: {rules:?}"
        );
    }
    let bindings: Api<ClusterRoleBinding> = Api::all(client(&server));
    let binding = object(json!({"metadata": {"name": "crew-views"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "crew"}]}));
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let member = Client::new(server.service_as("ann", vec!["crew".into()]), "default");
    let maps: Api<ConfigMap> = Api::all(member);
    maps.list(&ListParams::default()).await.unwrap();
    assert!(refusal(maps.list(&ListParams::default()).await).starts_with("not refused"));
}

#[tokio::test]
async fn a_requested_token_is_its_service_account_until_it_ends() {
    let server = server();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client(&server));
    let account = object(json!({"metadata": {"name": "robot"}}));
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let request = |seconds: i64| -> TokenRequest {
        object(json!({"spec": {"audiences": [], "expirationSeconds": seconds}, "metadata": {}}))
    };
    let short = accounts
        .create_token_request("robot", &PostParams::default(), &request(5))
        .await;
    assert!(
        matches!(short, Err(kube::Error::Api(s)) if s.message.contains("less than 10 minutes"))
    );
    let issued = accounts
        .create_token_request("robot", &PostParams::default(), &request(900))
        .await
        .unwrap();
    let token = issued.status.unwrap().token;

    let listening = listening(&server).await;
    let as_robot = connect(&listening.kubeconfig(&token)).await;
    let selves: Api<SelfSubjectReview> = Api::all(as_robot.clone());
    let me = selves
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let me = me.status.unwrap().user_info.unwrap();
    assert_eq!(
        me.username.as_deref(),
        Some("system:serviceaccount:default:robot")
    );
    assert!(
        me.groups
            .unwrap()
            .contains(&"system:serviceaccounts:default".to_owned())
    );
    let maps: Api<ConfigMap> = Api::default_namespaced(as_robot);
    assert!(refusal(maps.list(&ListParams::default()).await).contains("cannot list"));

    let reviews: Api<TokenReview> = Api::all(client(&server));
    let review = object(json!({"metadata": {}, "spec": {"token": token}}));
    let known = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    assert_eq!(known.status.unwrap().authenticated, Some(true));

    // The token belongs to this account, not to the next one of the name.
    accounts
        .delete("robot", &DeleteParams::default())
        .await
        .unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let gone = maps.list(&ListParams::default()).await;
    assert!(matches!(gone, Err(kube::Error::Api(s)) if s.code == 401));
    listening.stop().await;
}

#[tokio::test]
async fn a_client_certificate_names_user_and_group() {
    let server = server();
    let listening = listening(&server).await;
    let boss = listening
        .kubeconfig_with_certificate("boss", Some("system:masters"))
        .unwrap()
        .unwrap();
    let maps: Api<ConfigMap> = Api::all(connect(&boss).await);
    maps.list(&ListParams::default()).await.unwrap();
    let guest = listening
        .kubeconfig_with_certificate("guest", None)
        .unwrap()
        .unwrap();
    let maps: Api<ConfigMap> = Api::all(connect(&guest).await);
    let said = refusal(maps.list(&ListParams::default()).await);
    assert_eq!(
        said,
        "configmaps is forbidden: User \"guest\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope"
    );
    listening.stop().await;
}

async fn ask(client: &Client, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = http::Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Vec::new()).unwrap();
    match client.request_text(request).await {
        Ok(text) => (200, text),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        Err(other) => (0, other.to_string()),
    }
}

#[tokio::test]
async fn impersonation_needs_the_right_to_it() {
    let server = server();
    let path = "/api/v1/namespaces/default/configmaps";
    let as_guest = [("Impersonate-User", "guest"), ("Impersonate-Group", "crew")];
    let (code, said) = ask(&client(&server), path, &as_guest).await;
    assert_eq!(code, 403);
    assert!(said.contains("User \"guest\" cannot list"), "{said}");
    let (code, said) = ask(&robot(&server), path, &as_guest).await;
    assert_eq!(code, 403);
    assert!(
        said.contains("cannot impersonate resource \"users\""),
        "{said}"
    );
    let (code, _) = ask(&robot(&server), "/version", &[]).await;
    assert_eq!(code, 200);
    let (code, said) = ask(&robot(&server), "/metrics", &[]).await;
    assert_eq!(
        (code, said.as_str()),
        (
            403,
            "forbidden: User \"system:serviceaccount:default:robot\" cannot get path \"/metrics\""
        )
    );
}
