//! Everything kube-rs offers, over connections that are cut at random: no event is lost, nothing stays undone, and
//! there is never more than one leader.
//!
//! It runs for a few seconds; `CHAOS_SECONDS=600 cargo test -p dpf-apiserver --test chaos -- --nocapture` runs longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dpf_apiserver::{ApiServer, Options, Tls};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, finalizer, watcher};
use kube::{Api, Client, Config, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long a chaos of no asked-for length lasts.
const SECONDS: u64 = 6;
/// The longest life of a connection.
const LIFE_MS: u64 = 1500;
/// How long everything may take to become right after the last cut.
const CALM: Duration = Duration::from_secs(60);
/// How long a lease holds.
const LEASE: Duration = Duration::from_secs(3);
const FINALIZER: &str = "chaos.example.com/copy";

/// A small generator: the same seed cuts after the same times.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let step = |x: u64| {
            let x = x.wrapping_mul(6_364_136_223_846_793_005);
            Some(x.wrapping_add(1_442_695_040_888_963_407))
        };
        let order = Ordering::Relaxed;
        (self.0.fetch_update(order, order, step).unwrap() >> 33) % sides
    }
}

/// A way to the server that cuts every connection after a while.
struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    calm: Arc<AtomicBool>,
}

impl Cutter {
    async fn start(server: SocketAddr, dice: Dice, tasks: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let calm = Arc::new(AtomicBool::new(false));
        let (counted, quiet) = (Arc::clone(&cuts), Arc::clone(&calm));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let life = Duration::from_millis(dice.roll(LIFE_MS));
                let (counted, quiet) = (Arc::clone(&counted), Arc::clone(&quiet));
                connections.spawn(async move {
                    let carried = carry(client, server);
                    if quiet.load(Ordering::Relaxed) {
                        return carried.await;
                    }
                    if tokio::time::timeout(life, carried).await.is_err() {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            cuts,
            calm,
        }
    }

    fn client(&self) -> Client {
        let url = format!("http://{}", self.address).parse().unwrap();
        Client::try_from(Config::new(url)).unwrap()
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr) {
    if let Ok(mut upstream) = TcpStream::connect(server).await {
        // Whichever side ends it: the other one notices.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    }
}

/// Every state of every object that was ever written, and how often each name was deleted.
#[derive(Debug, Default, Clone, PartialEq)]
struct History {
    states: BTreeSet<(String, String)>,
    deletions: BTreeMap<String, usize>,
}

impl History {
    fn state(&mut self, map: &ConfigMap) {
        self.states
            .insert((map.name_any(), map.resource_version().unwrap()));
    }

    fn deletion(&mut self, name: String) {
        *self.deletions.entry(name).or_default() += 1;
    }
}

/// Notes what a watcher sees; fails the test when it had to start over, for then it may have missed something.
async fn observe(maps: Api<ConfigMap>, config: watcher::Config, seen: Arc<Mutex<History>>) {
    let mut events = Box::pin(watcher(maps, config).default_backoff());
    let mut ready = false;
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap();
        match event {
            Ok(watcher::Event::Init) => assert!(!ready, "the watcher lost its place"),
            Ok(watcher::Event::InitApply(_)) => {}
            Ok(watcher::Event::InitDone) => ready = true,
            Ok(watcher::Event::Apply(map)) => seen.state(&map),
            Ok(watcher::Event::Delete(map)) => seen.deletion(map.name_any()),
            // A cut connection.
            Err(_) => {}
        }
    }
}

/// Writes objects at random until the end, and keeps book.
async fn write(maps: Api<ConfigMap>, dice: Dice, until: Instant) -> History {
    let mut book = History::default();
    let mut step = 0u64;
    while Instant::now() < until {
        step += 1;
        let name = format!("m{}", dice.roll(20));
        match dice.roll(4) {
            0 => {
                let mut map = ConfigMap::default();
                map.metadata.name = Some(name);
                map.metadata.labels = Some([("chaos".to_owned(), "plain".to_owned())].into());
                if let Ok(map) = maps.create(&PostParams::default(), &map).await {
                    book.state(&map);
                }
            }
            1 | 2 => {
                let patch = Patch::Merge(json!({"data": {"step": step.to_string()}}));
                let patched = maps.patch(&name, &PatchParams::default(), &patch).await;
                if let Ok(map) = patched {
                    book.state(&map);
                }
            }
            _ => {
                if maps.delete(&name, &DeleteParams::default()).await.is_ok() {
                    book.deletion(name);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(10))).await;
    }
    book
}

/// Creates, changes and deletes sources for the controller.
async fn disturb(maps: Api<ConfigMap>, dice: Dice, until: Instant) {
    let mut step = 0u64;
    while Instant::now() < until {
        step += 1;
        let name = format!("source{}", dice.roll(6));
        if dice.roll(3) == 0 {
            let _ = maps.delete(&name, &DeleteParams::default()).await;
        } else {
            let source = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name,
                "labels": {"chaos": "source"}}, "data": {"step": step.to_string()}});
            let apply = PatchParams::apply("chaos").force();
            // Refused while the former object of the name is going.
            let _ = maps.patch(&name, &apply, &Patch::Apply(source)).await;
        }
        tokio::time::sleep(Duration::from_millis(20 + dice.roll(60))).await;
    }
}

async fn reconcile(
    source: Arc<ConfigMap>,
    maps: Arc<Api<ConfigMap>>,
) -> Result<Action, finalizer::Error<kube::Error>> {
    let api = (*maps).clone();
    finalizer(&maps, FINALIZER, source, |event| async move {
        match event {
            finalizer::Event::Apply(source) => {
                let name = format!("copy-of-{}", source.name_any());
                let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name,
                    "labels": {"chaos": "copy"}, "ownerReferences": [source.controller_owner_ref(&()).unwrap()]},
                    "data": source.data});
                let apply = PatchParams::apply("copier").force();
                api.patch(&name, &apply, &Patch::Apply(copy)).await?;
            }
            finalizer::Event::Cleanup(source) => {
                let name = format!("copy-of-{}", source.name_any());
                match api.delete(&name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    other => drop(other?),
                }
            }
        }
        Ok(Action::await_change())
    })
    .await
}

async fn control(maps: Api<ConfigMap>) {
    let sources = watcher::Config::default().labels("chaos=source");
    let copies = watcher::Config::default().labels("chaos=copy");
    Controller::new(maps.clone(), sources)
        .owns(maps.clone(), copies)
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(100)),
            Arc::new(maps),
        )
        .for_each(|_| async {})
        .await;
}

/// One round of a candidate: true when it holds the lease now.
async fn acquire(leases: &Api<Lease>, me: &str) -> kube::Result<bool> {
    let now = Timestamp::now();
    let found = leases.get_opt("leader").await?;
    let spec = |transitions: i32| LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(i32::try_from(LEASE.as_secs()).unwrap()),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(mut lease) = found else {
        let mut lease = Lease {
            spec: Some(spec(0)),
            ..Lease::default()
        };
        lease.metadata.name = Some("leader".into());
        leases.create(&PostParams::default(), &lease).await?;
        return Ok(true);
    };
    let held = lease.spec.clone().unwrap_or_default();
    let mine = held.holder_identity.as_deref() == Some(me);
    let renewed = held.renew_time.map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let age = now.as_millisecond() - renewed.as_millisecond();
    if !mine && age < i64::try_from(LEASE.as_millis()).unwrap() {
        return Ok(false);
    }
    lease.spec = Some(spec(held.lease_transitions.unwrap_or(0) + i32::from(!mine)));
    lease.metadata.managed_fields = None;
    leases
        .replace("leader", &PostParams::default(), &lease)
        .await?;
    Ok(true)
}

/// Stands for leader again and again. A leader steps down in good time when it cannot renew, and now and then at will.
async fn stand(
    leases: Api<Lease>,
    me: String,
    dice: Dice,
    leaders: Arc<AtomicUsize>,
    terms: Arc<AtomicUsize>,
) {
    let mut leads_until: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let round = tokio::time::timeout(LEASE / 3, acquire(&leases, &me)).await;
        if let Ok(Ok(true)) = round {
            if leads_until.is_none() {
                assert_eq!(leaders.fetch_add(1, Ordering::SeqCst), 0, "two leaders");
                terms.fetch_add(1, Ordering::SeqCst);
            }
            leads_until = Some(asked + LEASE / 2);
        }
        let tired = dice.roll(12) == 0;
        if let Some(until) = leads_until
            && (tired || Instant::now() + LEASE / 3 + Duration::from_millis(200) > until)
        {
            leaders.fetch_sub(1, Ordering::SeqCst);
            leads_until = None;
            if tired {
                tokio::time::sleep(LEASE).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn truth(maps: &Api<ConfigMap>, selector: &str) -> BTreeMap<String, String> {
    let found = maps.list(&ListParams::default().labels(selector)).await;
    let entry = |m: &ConfigMap| (m.name_any(), m.resource_version().unwrap());
    found.unwrap().iter().map(entry).collect()
}

/// True when every source has its copy, every copy its source, and nothing is on its way out.
async fn is_settled(maps: &Api<ConfigMap>) -> bool {
    let list = |selector: &'static str| async move {
        let found = maps.list(&ListParams::default().labels(selector)).await;
        found.unwrap().items
    };
    let (sources, copies) = (list("chaos=source").await, list("chaos=copy").await);
    let copied: BTreeMap<String, _> = copies.iter().map(|c| (c.name_any(), &c.data)).collect();
    sources.len() == copies.len()
        && sources.iter().all(|source| {
            let copy = copied.get(&format!("copy-of-{}", source.name_any()));
            source.metadata.deletion_timestamp.is_none() && copy == Some(&&source.data)
        })
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < CALM, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn seconds() -> u64 {
    let asked = std::env::var("CHAOS_SECONDS");
    asked.map_or(SECONDS, |s| s.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_connections_are_cut() {
    let server = ApiServer::new(Options {
        // Long enough that a watcher always finds its place again: a relist could hide a lost event.
        history_limit: 100_000,
        history_bytes: 256 * 1024 * 1024,
        ..Options::default()
    });
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = server.listen(loopback, Tls::Plain).await.unwrap();
    let dice = Dice(Arc::new(AtomicU64::new(7)));
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(listening.local_addr(), dice.clone(), &mut tasks).await;
    let direct: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let cut = || -> Api<ConfigMap> { Api::default_namespaced(cutter.client()) };

    let plain = watcher::Config::default().labels("chaos=plain");
    let books = [Arc::default(), Arc::default()];
    tasks.spawn(observe(cut(), plain.clone(), Arc::clone(&books[0])));
    tasks.spawn(observe(
        cut(),
        plain.clone().streaming_lists(),
        Arc::clone(&books[1]),
    ));
    let (reader, writer): (Store<ConfigMap>, _) = reflector::store();
    let reflected = watcher(cut(), plain).default_backoff();
    tasks.spawn(reflector::reflector(writer, reflected).for_each(|_| async {}));
    tasks.spawn(control(cut()));
    let (leaders, terms) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for me in ["a", "b", "c"] {
        let leases = Api::default_namespaced(cutter.client());
        let (leaders, terms) = (Arc::clone(&leaders), Arc::clone(&terms));
        tasks.spawn(stand(leases, me.to_owned(), dice.clone(), leaders, terms));
    }
    tokio::time::timeout(CALM, reader.wait_until_ready())
        .await
        .expect("the reflector must become ready")
        .unwrap();
    // Both watchers have begun when they see the marker.
    let marker = json!({"metadata": {"name": "marker", "labels": {"chaos": "plain"}}});
    let marker: ConfigMap = serde_json::from_value(marker).unwrap();
    let mut marker = direct
        .create(&PostParams::default(), &marker)
        .await
        .unwrap();
    for book in &books {
        eventually("the watchers must begin", async || {
            if !book.lock().unwrap().states.is_empty() {
                return true;
            }
            let touch = Patch::Merge(json!({"data": {"t": Timestamp::now().to_string()}}));
            let parameters = PatchParams::default();
            marker = direct.patch("marker", &parameters, &touch).await.unwrap();
            false
        })
        .await;
    }

    let until = Instant::now() + Duration::from_secs(seconds());
    let (book, ()) = tokio::join!(
        write(direct.clone(), dice.clone(), until),
        disturb(direct.clone(), dice.clone(), until)
    );
    let cuts = cutter.cuts.load(Ordering::Relaxed);
    cutter.calm.store(true, Ordering::Relaxed);
    for seen in &books {
        eventually("every event must arrive", async || {
            let seen = seen.lock().unwrap();
            book.states.is_subset(&seen.states) && book.deletions == seen.deletions
        })
        .await;
    }
    let wanted = truth(&direct, "chaos=plain").await;
    eventually("the reflector must know the truth", async || {
        let entry = |m: &Arc<ConfigMap>| (m.name_any(), m.resource_version().unwrap());
        reader.state().iter().map(entry).collect::<BTreeMap<_, _>>() == wanted
    })
    .await;
    eventually("the controller must finish its work", async || {
        is_settled(&direct).await
    })
    .await;
    eventually("somebody must lead", async || {
        leaders.load(Ordering::SeqCst) == 1
    })
    .await;
    while let Some(ended) = tasks.try_join_next() {
        ended.expect("nothing may give up");
    }
    println!(
        "{} s: {cuts} connections cut, {} states and {} deletions seen by both watchers, {} terms of leaders",
        seconds(),
        book.states.len(),
        book.deletions.values().sum::<usize>(),
        terms.load(Ordering::SeqCst)
    );
    assert!(cuts > 0 && book.states.len() > 10);
    listening.stop().await;
}
