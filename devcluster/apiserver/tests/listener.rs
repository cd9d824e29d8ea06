//! The listener: TLS, tokens, limits and stopping.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::net::SocketAddr;
use std::time::Duration;

use dpf_apiserver::{ApiServer, Options, Tls, Token};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn server() -> ApiServer {
    ApiServer::new(Options {
        tokens: vec![Token::admin("right")],
        anonymous: false,
        ..Options::default()
    })
}

async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn the_kubeconfig_connects_over_tls_and_plain() {
    for tls in [Tls::SelfSigned, Tls::Plain] {
        let listening = server()
            .listen(SocketAddr::from(LOOPBACK), tls.clone())
            .await
            .unwrap();
        assert_eq!(listening.ca_pem().is_some(), tls == Tls::SelfSigned);
        let namespaces: Api<Namespace> = Api::all(connect(&listening.kubeconfig("right")).await);
        assert_eq!(
            namespaces
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .len(),
            4
        );
        let namespaces: Api<Namespace> = Api::all(connect(&listening.kubeconfig("wrong")).await);
        let refused = namespaces.list(&ListParams::default()).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 401));
        listening.stop().await;
    }
}

#[tokio::test]
async fn stopping_ends_open_watches() {
    let listening = server()
        .listen(SocketAddr::from(LOOPBACK), Tls::SelfSigned)
        .await
        .unwrap();
    let maps: Api<ConfigMap> =
        Api::default_namespaced(connect(&listening.kubeconfig("right")).await);
    let mut events = Box::pin(
        maps.watch(&kube::api::WatchParams::default(), "0")
            .await
            .unwrap(),
    );
    let ended =
        tokio::spawn(async move { while futures::StreamExt::next(&mut events).await.is_some() {} });
    tokio::time::timeout(Duration::from_secs(10), listening.stop())
        .await
        .expect("stopping must not hang");
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("the watch must end")
        .unwrap();
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let options = Options {
        body_limit: 1000,
        ..Options::default()
    };
    let client = Client::new(ApiServer::new(options).service(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("big".into());
    map.data = Some([("k".to_owned(), "x".repeat(2000))].into());
    let refused = maps.create(&PostParams::default(), &map).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 413));
}
