//! The ways out of a process: clients of API servers, and a proxy in front of everything it reaches by HTTP.

use super::fate::Life;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use std::convert::Infallible;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The client of a process that may die at any write.
pub fn client(inner: &Client, life: &Life) -> Client {
    let (inner, life) = (inner.clone(), life.clone());
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (inner, life) = (inner.clone(), life.clone());
        async move {
            let reads = request.method() == Method::GET;
            let what = format!("{} {}", request.method(), request.uri().path());
            let call = inner.send(request);
            if reads {
                life.ask(call).await
            } else {
                life.act(what, call).await
            }
        }
    });
    Client::new(service, "default")
}

/// HTTP of a process that may die at any request to a BMC. The proxy ends with the returned set.
pub async fn http(life: &Life) -> (reqwest::Client, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, life.clone()));
    let client = reqwest::Client::builder()
        .proxy(reqwest::Proxy::http(proxy).unwrap())
        .build()
        .unwrap();
    (client, tasks)
}

async fn serve(listener: TcpListener, life: Life) {
    let outside = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (life, outside) = (life.clone(), outside.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (life, outside) = (life.clone(), outside.clone());
                async move { Ok::<_, Infallible>(pass_on(&life, &outside, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // Who goes away in the middle is dead.
            let _ = connection.await;
        });
    }
}

async fn pass_on(
    life: &Life,
    outside: &reqwest::Client,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let what = format!("{} {}", head.method, head.uri.path());
    let redfish = head.uri.path().starts_with("/redfish/");
    let call = async {
        let sent = outside
            .request(head.method, head.uri.to_string())
            .headers(head.headers)
            .body(body)
            .send();
        let Ok(answer) = sent.await else {
            return gone();
        };
        let status = answer.status();
        let headers = answer.headers().clone();
        let Ok(body) = answer.bytes().await else {
            return gone();
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    };
    if redfish {
        life.act(what, call).await
    } else {
        life.ask(call).await
    }
}

fn gone() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
