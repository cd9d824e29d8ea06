//! The image registry: serves each BMC the image of its DPU with the bf.cfg of that DPU at its end.
//!
//! The address holds a token that only the DPU controller and the BMC know, differs for every installation and works only
//! while the DPU is in phase `OS Installing`. Files are streamed from disk; connections and downloads are bounded.
//!
//! ```text
//!  GET /bfb/<namespace>/<dpu>/<token>  ──>  BFB file ++ bf.cfg
//! ```

use crate::kit::{self, Context, Shutdown};
use bytes::Bytes;
use dpf_api::provisioning::{Dpu, DpuPhase};
use dpf_core::dpu::{image_token, store_file};
use futures::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::ResourceExt;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

/// Connections at a time; further ones wait in the backlog of the socket.
const CONNECTIONS: usize = 256;
/// Downloads at a time: as many as installations by default, and some that are tried again.
const DOWNLOADS: usize = 64;
/// Who has not sent a request within this time is cut off.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read from a file at a time.
const BLOCK: usize = 256 * 1024;
/// After the end was asked for, downloads may go on for this long.
const GRACE: Duration = Duration::from_secs(5);

type Body = BoxBody<Bytes, io::Error>;

/// Serves images on this socket until shutdown.
pub async fn serve(listener: TcpListener, context: Arc<Context>, shutdown: Shutdown) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let downloads = Arc::new(Semaphore::new(DOWNLOADS));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let (context, downloads) = (context.clone(), downloads.clone());
        let stop = shutdown.clone();
        tasks.spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let (context, downloads) = (context.clone(), downloads.clone());
                async move { Ok::<_, Infallible>(answer(&context, &downloads, &request).await) }
            });
            let mut connection = std::pin::pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service)
            );
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(GRACE, connection.as_mut()).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::debug!("download ended: {error}");
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!("failed to accept a connection to the image registry: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn answer(
    context: &Context,
    downloads: &Arc<Semaphore>,
    request: &Request<Incoming>,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    let Some((namespace, name, token)) = parts(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, "no such image\n");
    };
    let files = match find(context, namespace, name, token).await {
        Ok(Some(files)) => files,
        Ok(None) => return plain(StatusCode::NOT_FOUND, "no such image\n"),
        Err(message) => {
            tracing::warn!(namespace, name, "image cannot be served: {message}");
            return busy();
        }
    };
    let length = files.length;
    let body = if request.method() == Method::HEAD {
        empty()
    } else {
        let Ok(permit) = downloads.clone().try_acquire_owned() else {
            return busy();
        };
        tracing::info!(namespace, name, bytes = length, "serving image");
        files.into_body(permit)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// `/bfb/<namespace>/<dpu>/<token>`.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let mut parts = path.strip_prefix("/bfb/")?.split('/');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

/// Image and configuration, open.
struct Files {
    image: File,
    configuration: File,
    length: u64,
}

impl Files {
    fn into_body(self, permit: OwnedSemaphorePermit) -> Body {
        let both = self.image.chain(self.configuration);
        let frames = ReaderStream::with_capacity(both, BLOCK).map(move |block| {
            let _held = &permit;
            block.map(Frame::data)
        });
        BodyExt::boxed(StreamBody::new(frames))
    }
}

async fn find(
    context: &Context,
    namespace: &str,
    name: &str,
    token: &str,
) -> Result<Option<Files>, String> {
    let dpu: Option<Dpu> = kit::get(&context.client, namespace, name)
        .await
        .map_err(|error| crate::kit::in_one_line(&error))?;
    let Some((dpu, status)) = dpu.and_then(|dpu| {
        let status = dpu.status.clone()?;
        Some((dpu, status))
    }) else {
        return Ok(None);
    };
    let expected = image_token(&dpu.uid().unwrap_or_default(), &status);
    if status.phase != DpuPhase::OsInstalling || !same(token, &expected) {
        return Ok(None);
    }
    let open = async |published: &Option<String>, what: &str| {
        let relative = published
            .as_deref()
            .and_then(store_file)
            .ok_or_else(|| format!("the status of the DPU names no {what}"))?;
        let path = context.settings.bfb_dir.join(relative);
        let failed = |error: io::Error| format!("failed to open {}: {error}", path.display());
        let file = File::open(&path).await.map_err(failed)?;
        let length = file.metadata().await.map_err(failed)?.len();
        Ok::<_, String>((file, length))
    };
    let (image, image_length) = open(&status.bfb_file, "image").await?;
    let (configuration, length) = open(&status.bf_cfg_file, "configuration").await?;
    Ok(Some(Files {
        image,
        configuration,
        length: image_length + length,
    }))
}

/// Compares in a time that does not depend on where the first difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |acc, (x, y)| acc | (x ^ y))
            == 0
}

fn empty() -> Body {
    Full::new(Bytes::new())
        .map_err(|never| match never {})
        .boxed()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}

fn busy() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "try again\n");
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parts("/bfb/n/d/t"), Some(("n", "d", "t")));
        for wrong in ["/bfb/n/d", "/bfb/n/d/t/x", "/n/d/t", "/"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_compared_as_a_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", "ab"));
    }
}
