//! The shell around the store: bodies, tokens, the clock, and streams for watches.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, Stream};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use tokio::sync::watch as signal;
use tokio::time::{Instant, Interval};

use crate::audit::AuditRecord;
use crate::auth::identity::{Caller, Impersonation, User};
use crate::body::Pieces;
use crate::error::ApiError;
use crate::options::Options;
use crate::persist::{Journal, PersistError};
use crate::request::{ApiRequest, Method};
use crate::response::Response;
use crate::store::watch::{Event, WatchPlan, WatchStep};
use crate::store::{Reply, Store, StoreConfig};

/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An error of any kind, as tower services report them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The embedded API server: a handle that is cheap to clone, all clones being the same server.
#[derive(Debug, Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    store: Mutex<Store>,
    journal: Option<Journal>,
    changed: signal::Sender<u64>,
}

impl ApiServer {
    /// A server with nothing in it but the namespaces and roles every cluster has.
    pub fn new(options: Options) -> Self {
        let store = Store::new(config_of(&options), options.seed, options.clock.now());
        Self::with(options, store, None)
    }

    /// A server whose objects are kept in a file: what is in it is there again, and every change is on the disk before
    /// it is answered. One server at a time can have a file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(options: Options, file: &Path) -> Result<Self, PersistError> {
        let (journal, saved) = Journal::open(file, options.seed)?;
        let (config, now) = (config_of(&options), options.clock.now());
        let mut store = match saved.revision {
            0 => Store::new(config, saved.seed, now),
            _ => Store::restore(config, saved, now),
        };
        journal.record(&store.first_events())?;
        Ok(Self::with(options, store, Some(journal)))
    }

    fn with(options: Options, store: Store, journal: Option<Journal>) -> Self {
        let (changed, _) = signal::channel(store.revision());
        Self {
            inner: Arc::new(Inner {
                options,
                store: Mutex::new(store),
                journal,
                changed,
            }),
        }
    }

    /// Writes events to the file, when there is one. The reply is an error when that fails: the change may be lost.
    fn keep(&self, events: &[Arc<Event>]) -> Result<(), ApiError> {
        let Some(journal) = &self.inner.journal else {
            return Ok(());
        };
        journal.record(events).map_err(|error| {
            tracing::error!(%error, "a change is not in the file");
            ApiError::internal(error.to_string())
        })
    }

    /// A tower service for `kube::Client::new`: no sockets, no tokens, every request is an administrator's.
    pub fn service(&self) -> ApiService {
        ApiService {
            server: self.clone(),
            access: Access::Fixed(User::admin()),
        }
    }

    /// Like [`service`](Self::service), with the rights of a given user.
    pub fn service_as(&self, user: impl Into<String>, groups: Vec<String>) -> ApiService {
        ApiService {
            server: self.clone(),
            access: Access::Fixed(User::new(user, groups)),
        }
    }

    /// The service behind the listener: requests need credentials, unless anonymous ones are allowed.
    pub(crate) fn guarded_service(&self, certificate: Option<User>) -> ApiService {
        ApiService {
            server: self.clone(),
            access: Access::Asked(certificate),
        }
    }

    /// Runs the background jobs that are due. Only needed when `automatic_jobs` is off.
    pub fn settle(&self) {
        let now = self.now();
        let mut store = self.store();
        let events = store.settle(now);
        // Said in the log: there is nobody to answer.
        let _ = self.keep(&events);
        self.announce(&store);
    }

    /// The revision of the latest change: equal revisions mean nothing happened in between.
    pub fn revision(&self) -> u64 {
        self.store().revision()
    }

    fn now(&self) -> Timestamp {
        self.inner.options.clock.now()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic while the lock was held cannot leave an object half written: values are replaced as a whole.
        self.inner
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, store: &Store) {
        let revision = store.revision();
        self.inner
            .changed
            .send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
    }

    /// Answers one request.
    fn handle(&self, request: &ApiRequest) -> Reply {
        let now = self.now();
        let mut store = self.store();
        let before = store.revision();
        let (mut reply, mut events) = store.handle(request, now);
        let changed = store.revision() != before;
        if self.inner.options.automatic_jobs {
            events.extend(store.settle(now));
        }
        if let Err(error) = self.keep(&events) {
            reply = Reply::Response(Response::error(&error));
        }
        self.announce(&store);
        drop(store);
        self.record(request, &reply, changed, now);
        reply
    }

    /// Tells the audit, if there is one.
    fn record(&self, request: &ApiRequest, reply: &Reply, changed: bool, now: Timestamp) {
        let (Some(audit), Reply::Response(response)) = (&self.inner.options.audit, reply) else {
            return;
        };
        if let Some(record) = AuditRecord::of(request, response.status, changed, now) {
            audit.take(record);
        }
    }

    fn watch_body(&self, plan: WatchPlan) -> Body {
        let now = Instant::now();
        let options = &self.inner.options;
        let mut bookmarks =
            tokio::time::interval_at(now + options.bookmark_interval, options.bookmark_interval);
        bookmarks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let watch = RunningWatch {
            changed: self.inner.changed.subscribe(),
            server: self.clone(),
            deadline: now + plan.timeout.unwrap_or(options.watch_timeout),
            plan,
            bookmarks,
            started: false,
        };
        StreamBody::new(frames(watch)).boxed_unsync()
    }
}

struct RunningWatch {
    server: ApiServer,
    plan: WatchPlan,
    changed: signal::Receiver<u64>,
    deadline: Instant,
    bookmarks: Interval,
    started: bool,
}

impl RunningWatch {
    /// Waits until there is something to say. None ends the watch. The store is asked only when the client reads:
    /// a slow client is not buffered for, it falls behind and in the end gets 410.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            if self.started {
                let server = self.server.clone();
                let more = server.store().has_more(&self.plan);
                if !more {
                    tokio::select! {
                        changed = self.changed.changed() => changed.ok()?,
                        () = tokio::time::sleep_until(self.deadline) => return None,
                        _ = self.bookmarks.tick(), if self.plan.bookmarks => {
                            return Some((self.plan.bookmark(false).into(), false));
                        }
                    }
                }
            }
            self.started = true;
            let now = self.server.now();
            let server = self.server.clone();
            let step = server.store().watch_step(&mut self.plan, now);
            match step {
                WatchStep::Lines(lines) if lines.is_empty() => {}
                WatchStep::Lines(lines) => return Some((lines.into(), false)),
                WatchStep::End(line) => return line.map(|line| (line.into(), true)),
            }
        }
    }
}

fn frames(watch: RunningWatch) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        let (bytes, last) = watch.next().await?;
        Some((Ok(Frame::data(bytes)), (!last).then_some(watch)))
    })
}

#[derive(Debug, Clone)]
enum Access {
    /// Every request is this user's.
    Fixed(User),
    /// The request says whose it is, or the client's certificate does.
    Asked(Option<User>),
}

/// The server as a tower service.
#[derive(Debug, Clone)]
pub struct ApiService {
    server: ApiServer,
    access: Access,
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl ApiService {
    async fn answer<B>(self, request: http::Request<B>) -> http::Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let head = request.method() == http::Method::HEAD;
        let reply = match self.read(request).await {
            Ok(request) => self.server.handle(&request),
            Err(error) => Reply::Response(Response::error(&error)),
        };
        match reply {
            Reply::Response(response) => into_http(response, head),
            Reply::Watch(plan) => {
                let mut response = http::Response::new(self.server.watch_body(*plan));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
        }
    }

    async fn read<B>(&self, request: http::Request<B>) -> Result<ApiRequest, ApiError>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let method = match parts.method {
            http::Method::GET => Method::Get,
            http::Method::HEAD => Method::Head,
            http::Method::POST => Method::Post,
            http::Method::PUT => Method::Put,
            http::Method::PATCH => Method::Patch,
            http::Method::DELETE => Method::Delete,
            _ => return Err(ApiError::method_not_allowed()),
        };
        let (path, query) = ApiRequest::parse_target(parts.uri.path(), parts.uri.query());
        let caller = match &self.access {
            Access::Fixed(user) => Caller::Known(user.clone()),
            Access::Asked(certificate) => caller_of(&parts.headers, certificate.as_ref())?,
        };
        let impersonation = impersonation_of(&parts.headers);
        let limit = self.server.inner.options.body_limit;
        let body = match Limited::new(body, limit).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(ApiError::too_large(limit));
            }
            Err(error) => {
                return Err(ApiError::bad_request(format!(
                    "failed to read the request body: {error}"
                )));
            }
        };
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
                .unwrap_or_default()
        };
        Ok(ApiRequest {
            method,
            path,
            query,
            accept: header(header::ACCEPT).to_owned(),
            content_type: header(header::CONTENT_TYPE).to_owned(),
            user_agent: header(header::USER_AGENT).to_owned(),
            body,
            caller,
            impersonation,
        })
    }
}

fn config_of(options: &Options) -> StoreConfig {
    StoreConfig {
        history_limit: options.history_limit,
        history_bytes: options.history_bytes,
        immediate_pod_deletion: options.immediate_pod_deletion,
        tokens: options.tokens.clone(),
        anonymous: options.anonymous,
        rbac: options.rbac,
    }
}

/// A bearer token counts before a certificate.
fn caller_of(headers: &HeaderMap, certificate: Option<&User>) -> Result<Caller, ApiError> {
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|h| h.to_str().ok());
    let Some(header) = header else {
        return Ok(certificate.map_or(Caller::Nobody, |user| Caller::Known(user.clone())));
    };
    let (scheme, secret) = header.split_once(' ').unwrap_or((header, ""));
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(Caller::Token(secret.trim().to_owned())),
        false => Err(ApiError::unauthorized()),
    }
}

fn impersonation_of(headers: &HeaderMap) -> Impersonation {
    let mut out = Impersonation::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("impersonate-") else {
            continue;
        };
        let value = value.to_str().unwrap_or_default().to_owned();
        match name {
            "user" => out.user = value,
            "uid" => out.uid = value,
            "group" => out.groups.push(value),
            _ => {
                if let Some(key) = name.strip_prefix("extra-") {
                    let key = crate::request::percent_decode(key, false);
                    out.extra.entry(key).or_default().push(value);
                }
            }
        }
    }
    out
}

fn into_http(response: Response, head: bool) -> http::Response<Body> {
    let body = match (head, <[Bytes; 1]>::try_from(response.body)) {
        (true, _) => Full::new(Bytes::new()).boxed_unsync(),
        (false, Ok([only])) => Full::new(only).boxed_unsync(),
        (false, Err(pieces)) => Pieces::new(pieces).boxed_unsync(),
    };
    let mut out = http::Response::new(body);
    *out.status_mut() = http::StatusCode::from_u16(response.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = out.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&response.content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    for warning in response.warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            headers.append(header::WARNING, value);
        }
    }
    out
}
