//! A small HTTP server for the simulated neighbours: images, charts, BMCs.

use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections of one server at a time; more wait in the kernel.
const MAX_CONNECTIONS: usize = 256;
/// Nobody sends these servers more than a small JSON document, in bytes.
const MAX_BODY: usize = 1 << 20;

/// An answer.
pub type Answer = Response<Full<Bytes>>;
/// Answers requests whose body was read completely.
pub type Handler = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A listener on loopback that is not serving yet, so that its address is known before anything uses it.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds any free port on loopback.
    ///
    /// # Errors
    /// When the system has no port left.
    pub async fn bind() -> std::io::Result<Self> {
        Self::bind_to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Binds this address.
    ///
    /// # Errors
    /// When it is in use.
    pub async fn bind_to(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `stop`; open connections are then closed.
    pub async fn serve(self, stop: CancellationToken, handler: Handler) {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let handler = handler.clone();
            let stop = stop.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| answer(handler.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stop.cancelled() => {}
                    // A client that goes away in the middle is its own business.
                    _ = connection => {}
                }
            });
        }
    }
}

async fn answer(handler: Handler, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => handler(Request::from_parts(head, body.to_bytes())).await,
        Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
    };
    Ok(answer)
}

/// An answer of plain text.
#[must_use]
pub fn text(status: StatusCode, message: impl Into<String>) -> Answer {
    let mut message: String = message.into();
    message.push('\n');
    body(status, "text/plain; charset=utf-8", message)
}

/// An answer of JSON.
#[must_use]
pub fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    body(status, "application/json", value.to_string())
}

/// An answer of bytes.
#[must_use]
pub fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    answer
}
