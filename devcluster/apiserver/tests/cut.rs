//! Watchers lose nothing when their connections are cut at any byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dpf_apiserver::{ApiServer, Body, Options};
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tower::ServiceExt as _;

/// A small generator: the same seed cuts at the same places.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let step = |x: u64| {
            Some(
                x.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        };
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .unwrap();
        (before >> 33) % sides
    }
}

type CutBody = UnsyncBoxBody<Bytes, io::Error>;

/// Ends the body of a watch after some bytes: now cleanly, now with an error, mostly within a line.
fn cut(body: Body, dice: &Dice) -> CutBody {
    let broken = dice.roll(2) == 0;
    let state = Some((BodyStream::new(body), dice.roll(5000), broken));
    let frames = stream::unfold(state, |state| async move {
        let (mut body, left, broken) = state?;
        if left == 0 {
            return broken.then(|| (Err(io::Error::from(io::ErrorKind::ConnectionReset)), None));
        }
        let Ok(frame) = body.next().await?;
        let mut data = frame.into_data().unwrap_or_default();
        data.truncate(usize::try_from(left).unwrap());
        let left = left - u64::try_from(data.len()).unwrap();
        Some((Ok(Frame::data(data)), Some((body, left, broken))))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn cutting_client(server: &ApiServer, dice: Dice, cuts: Arc<AtomicU64>) -> Client {
    let service = server.service();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (service, dice, cuts) = (service.clone(), dice.clone(), Arc::clone(&cuts));
        async move {
            let watch = request
                .uri()
                .query()
                .is_some_and(|q| q.contains("watch=true"));
            let Ok(response) = service.oneshot(request).await;
            Ok::<_, Infallible>(response.map(|body| {
                if watch {
                    cuts.fetch_add(1, Ordering::Relaxed);
                    return cut(body, &dice);
                }
                body.map_err(|never| match never {}).boxed_unsync()
            }))
        }
    });
    Client::new(service, "default")
}

type Known = BTreeMap<String, String>;

fn note(known: &mut Known, next: &mut Known, event: watcher::Event<ConfigMap>) {
    let entry = |map: &ConfigMap| (map.name_any(), map.resource_version().unwrap());
    match event {
        watcher::Event::Init => next.clear(),
        watcher::Event::InitApply(map) => next.extend([entry(&map)]),
        watcher::Event::InitDone => *known = std::mem::take(next),
        watcher::Event::Apply(map) => known.extend([entry(&map)]),
        watcher::Event::Delete(map) => {
            known.remove(&map.name_any());
        }
    }
}

async fn write(maps: &Api<ConfigMap>, dice: &Dice) {
    for step in 0..300 {
        let name = format!("m{}", dice.roll(12));
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.clone());
        // Whether the object exists is up to the dice: a refusal is as good as a success.
        let _ = match dice.roll(3) {
            0 => maps.create(&PostParams::default(), &map).await.is_ok(),
            1 => {
                let patch = Patch::Merge(json!({"data": {"step": step.to_string()}}));
                maps.patch(&name, &PatchParams::default(), &patch)
                    .await
                    .is_ok()
            }
            _ => maps.delete(&name, &DeleteParams::default()).await.is_ok(),
        };
        // Virtual time: the clock is paused and jumps. The watcher needs some to come back after a cut.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn run(seed: u64) {
    let server = ApiServer::new(Options {
        history_limit: 40,
        ..Options::default()
    });
    let dice = Dice(Arc::new(AtomicU64::new(seed)));
    let cuts = Arc::new(AtomicU64::new(0));
    let watched: Api<ConfigMap> =
        Api::default_namespaced(cutting_client(&server, dice.clone(), Arc::clone(&cuts)));
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let mut events = Box::pin(watcher(watched, watcher::Config::default()).default_backoff());
    let (mut known, mut next) = (Known::new(), Known::new());
    let writing = write(&maps, &dice);
    tokio::pin!(writing);
    let mut done = false;
    let mut truth = Known::new();
    while !done || known != truth {
        tokio::select! {
            () = &mut writing, if !done => {
                done = true;
                let all = maps.list(&ListParams::default()).await.unwrap();
                truth = all.iter().map(|m| (m.name_any(), m.resource_version().unwrap())).collect();
            }
            event = tokio::time::timeout(Duration::from_secs(3600), events.next()) => {
                // Errors are the cuts; the watcher goes on by itself.
                if let Ok(event) = event.expect("the watcher must catch up").unwrap() {
                    note(&mut known, &mut next, event);
                }
            }
        }
    }
    assert!(
        cuts.load(Ordering::Relaxed) > 1,
        "seed {seed}: no connection was cut"
    );
}

#[tokio::test(start_paused = true)]
async fn watchers_catch_up_whatever_is_cut() {
    for seed in 0..30 {
        println!("seed {seed}");
        run(seed).await;
    }
}
