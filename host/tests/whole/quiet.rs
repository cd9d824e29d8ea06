//! Ten minutes in which a converged deployment is left alone, in seconds: all controllers and the development cluster in one
//! process, whose clock is turned by hand. So every resync and every end of a watch comes at its time, and all of them come.

use crate::world::{NAME, NAMESPACE, PATIENCE, World};
use dpf_api::svc::DpuDeployment;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, Discovery, ResourceExt};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long nothing may be written, by the clock of the process.
const MINUTES: u64 = 10;
/// What is idle for this long has nothing to do before the clock is turned.
const IDLE: Duration = Duration::from_millis(4);
/// Work within it that counts as none: the test itself.
const NOISE: Duration = Duration::from_micros(400);

#[test]
fn ten_minutes_of_resyncs_and_events_cause_no_write() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::start(dir.path()).await;
        world.apply_example().await;
        world.start_host().await;
        world.converge().await;
        world.ten_quiet_minutes().await;
        world.stop().await;
    });
}

impl World {
    async fn ten_quiet_minutes(&self) {
        let before = self.writes().len();
        let watched = [
            watched(&self.cluster.host).await,
            watched(&self.cluster.dpu).await,
        ];
        let clock = HandTurned::start();
        let mut touched = 0;
        for minute in 0..MINUTES {
            touched += touch_everything(&self.cluster.host, &watched[0], minute).await;
            touched += touch_everything(&self.cluster.dpu, &watched[1], minute).await;
            clock.turn(Duration::from_secs(60)).await;
            let writes: Vec<String> = self.writes().into_iter().skip(before).collect();
            assert!(
                writes.is_empty(),
                "{} requests in minute {minute}:\n{}",
                writes.len(),
                writes.join("\n")
            );
        }
        clock.stop().await;
        eprintln!("{MINUTES} minutes, {touched} events that concern nothing, no request");
        self.still_works(before).await;
    }

    /// The silence was not that of a host that had stopped.
    async fn still_works(&self, before: usize) {
        let api: Api<DpuDeployment> = Api::namespaced(self.cluster.host.clone(), NAMESPACE);
        let change = json!({"spec": {"revisionHistoryLimit": 7}});
        api.patch(NAME, &PatchParams::default(), &Patch::Merge(&change))
            .await
            .unwrap();
        let started = Instant::now();
        while self.writes().len() == before {
            assert!(started.elapsed() < PATIENCE, "the host does nothing");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Our kinds, what the host writes for Argo CD, and what it reads of Kubernetes.
async fn watched(client: &Client) -> Vec<ApiResource> {
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let groups = discovery.groups();
    let all = groups.flat_map(|group| group.recommended_resources());
    all.map(|(resource, _)| resource)
        .filter(|resource| {
            resource.group.ends_with("dpu.nvidia.com")
                || resource.group == "argoproj.io"
                || ["Node", "Pod", "Namespace"].contains(&resource.kind.as_str())
        })
        .collect()
}

/// Somebody annotates every object, and a controller writes the status that is there already. Returns how many events.
async fn touch_everything(client: &Client, kinds: &[ApiResource], minute: u64) -> usize {
    let mut touched = 0;
    let params = PatchParams::default();
    for kind in kinds {
        let all: Api<DynamicObject> = Api::all_with(client.clone(), kind);
        for object in all.list(&ListParams::default()).await.unwrap() {
            let api: Api<DynamicObject> = match object.namespace() {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, kind),
                None => all.clone(),
            };
            let note =
                json!({"metadata": {"annotations": {"example.com/minute": minute.to_string()}}});
            let name = object.name_any();
            api.patch(&name, &params, &Patch::Merge(&note))
                .await
                .unwrap();
            touched += 1;
            if let Some(status) = object.data.get("status") {
                let same = json!({ "status": status });
                // Kinds without the subresource have their own way.
                let _ = api.patch_status(&name, &params, &Patch::Merge(&same)).await;
            }
        }
    }
    touched
}

/// The clock of the runtime, which moves when it is turned.
struct HandTurned {
    release: std::sync::mpsc::Sender<()>,
    anchor: JoinHandle<()>,
}

impl HandTurned {
    fn start() -> Self {
        let (release, released) = std::sync::mpsc::channel::<()>();
        // A stopped clock jumps to the next timer by itself when the runtime waits, also when it waits for a socket. It
        // does not while something blocks.
        let anchor = tokio::task::spawn_blocking(move || {
            let _ = released.recv();
        });
        tokio::time::pause();
        Self { release, anchor }
    }

    /// Second by second; after each, everybody does what became due.
    async fn turn(&self, by: Duration) {
        for _ in 0..by.as_secs() {
            tokio::time::advance(Duration::from_secs(1)).await;
            idle().await;
        }
    }

    async fn stop(self) {
        tokio::time::resume();
        drop(self.release);
        self.anchor.await.unwrap();
    }
}

/// Waits until the thread that does everything had nothing to do for a moment.
async fn idle() {
    let metrics = tokio::runtime::Handle::current().metrics();
    loop {
        let before = metrics.worker_total_busy_duration(0);
        tokio::task::spawn_blocking(|| std::thread::sleep(IDLE))
            .await
            .unwrap();
        if metrics.worker_total_busy_duration(0) - before < NOISE {
            return;
        }
    }
}
