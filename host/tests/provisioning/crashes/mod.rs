//! The host is killed before and after every write to an API server and every call of a BMC, while a DPU is provisioned,
//! provisioned anew with another image, and deleted. It always ends the same, and nothing is done twice.
//!
//! Hours of waiting pass in seconds: everything is on one thread whose clock jumps to the next timer when all wait.

mod fate;
mod process;
mod seen;
mod wires;

use crate::world::NAMESPACE;
use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuPhase, DpuSet};
use dpf_devcluster::{DevCluster, Options};
use fate::{Death, Fate, Side};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use process::Process;
use seen::Seen;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Longest stage by the clock of the simulation.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether a stage is over.
const LOOK: Duration = Duration::from_secs(1);
/// The image of the first provisioning, and the one after it.
const IMAGES: [(&str, &str); 2] = [
    ("image-1", "bf-bundle-2.9.0-33_a.bfb"),
    ("image-2", "bf-bundle-2.10.0-12_b.bfb"),
];

/// The stages of a life.
const STAGES: [Stage; 3] = [Stage::Provision, Stage::Reprovision, Stage::Delete];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Provision,
    Reprovision,
    Delete,
}

struct World {
    cluster: DevCluster,
    dir: PathBuf,
    fate: Fate,
    process: Option<Process>,
    deaths: usize,
    /// The world before anybody asked for anything.
    before: Seen,
}

impl World {
    async fn start(dir: PathBuf) -> Self {
        let options = Options {
            dpus: 1,
            ..Options::new(dir.join("dev"))
        };
        let cluster = dpf_devcluster::start(options).await.unwrap();
        let before = Seen::look(&cluster).await;
        Self {
            before,
            cluster,
            dir,
            fate: Fate::default(),
            process: None,
            deaths: 0,
        }
    }

    async fn live(&mut self) {
        let (began, origin) = (tokio::time::Instant::now(), Timestamp::now());
        let now = move || origin + SignedDuration::try_from(began.elapsed()).unwrap();
        let process = Process::start(&self.cluster, &self.dir, self.fate.life(), now).await;
        self.process = Some(process);
    }

    /// Waits until the stage is over, with as many processes as that takes.
    async fn finish(&mut self, stage: Stage, death: Option<Death>) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let life = self.process.as_ref().unwrap().life.clone();
            tokio::select! {
                () = life.died() => {
                    self.process.take().unwrap().bury().await;
                    self.deaths += 1;
                    self.live().await;
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            let over = self.may_be_over(stage).await && {
                let seen = Seen::look(&self.cluster).await;
                match stage {
                    Stage::Provision => seen.is_running("image-1", &self.before),
                    Stage::Reprovision => seen.is_running("image-2", &self.before),
                    Stage::Delete => seen.is_empty(&self.before),
                }
            };
            if over {
                return;
            }
            if tokio::time::Instant::now() > deadline {
                let seen = Seen::look(&self.cluster).await;
                let calls = self.fate.calls().join("\n");
                panic!("{stage:?} with {death:?} does not end: {seen:#?}\n{calls}");
            }
        }
    }

    /// A look at DPUs alone: looking at everything takes longer than what happens in between.
    async fn may_be_over(&self, stage: Stage) -> bool {
        let dpus: Vec<Dpu> = crate::world::all(&self.cluster.host).await;
        let phase = |dpu: &Dpu| dpu.status.as_ref().map(|s| s.phase);
        match stage {
            Stage::Provision | Stage::Reprovision => {
                dpus.iter().any(|dpu| phase(dpu) == Some(DpuPhase::Ready))
            }
            Stage::Delete => dpus.is_empty(),
        }
    }

    /// What a user does in a stage.
    async fn ask(&self, stage: Stage) {
        let client = &self.cluster.host;
        match stage {
            Stage::Provision => {
                self.pod().await;
                self.image(0).await;
                let flavor = json!({"metadata": {"name": "flavor"}, "spec": {
                    "nvconfig": [{"parameters": ["PF_TOTAL_SF=20"]}]
                }});
                let flavors: Api<DpuFlavor> = Api::namespaced(client.clone(), NAMESPACE);
                let flavor = serde_json::from_value(flavor).unwrap();
                flavors
                    .create(&PostParams::default(), &flavor)
                    .await
                    .unwrap();
                let mut set = crate::world::dpu_set("rack", None, json!({"drain": true}));
                set["spec"]["strategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}});
                set["spec"]["dpuTemplate"]["spec"]["bfb"]["name"] = json!("image-1");
                crate::world::create::<DpuSet>(client, set).await;
            }
            Stage::Reprovision => {
                self.pod().await;
                self.image(1).await;
                let change =
                    json!({"spec": {"dpuTemplate": {"spec": {"bfb": {"name": "image-2"}}}}});
                let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
                let change = Patch::Merge(&change);
                sets.patch("rack", &PatchParams::default(), &change)
                    .await
                    .unwrap();
            }
            Stage::Delete => {
                let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
                let at_once = DeleteParams::default();
                sets.delete("rack", &at_once).await.unwrap();
                let bfbs: Api<Bfb> = Api::namespaced(client.clone(), NAMESPACE);
                for (name, _) in IMAGES {
                    bfbs.delete(name, &at_once).await.unwrap();
                }
                let flavors: Api<DpuFlavor> = Api::namespaced(client.clone(), NAMESPACE);
                flavors.delete("flavor", &at_once).await.unwrap();
            }
        }
    }

    async fn image(&self, number: usize) {
        let (name, file) = IMAGES[number];
        let url = format!("http://internal-nfs/{file}");
        let bfb = json!({"metadata": {"name": name}, "spec": {"url": url}});
        crate::world::create::<Bfb>(&self.cluster.host, bfb).await;
    }

    /// Something that runs on the host and has to be evicted.
    async fn pod(&self) {
        let pod = json!({"metadata": {"name": "guest"}, "spec": {
            "nodeName": "worker-1", "containers": [{"name": "c", "image": "i"}]
        }});
        crate::world::create::<Pod>(&self.cluster.host, pod).await;
    }

    /// One life, with a death in each stage. Returns what was seen after each stage, and how many deaths were reached.
    async fn life(&mut self, death: Option<Death>) -> (Vec<Seen>, usize) {
        let before = self.deaths;
        let written = self.cluster.bmcs[0].images_written();
        let resets = self.cluster.bmcs[0].starts();
        let mut after = Vec::new();
        let mut reached = 0;
        for (done, stage) in (1..).zip(STAGES) {
            self.fate.stage(death);
            self.ask(stage).await;
            self.finish(stage, death).await;
            reached += usize::from(death.is_some() && !self.fate.is_due());
            after.push(Seen::look(&self.cluster).await);
            let bmc = &self.cluster.bmcs[0];
            let expected = done.min(2);
            assert_eq!(
                bmc.images_written() - written,
                expected,
                "{stage:?} with {death:?}: images written"
            );
            // After its installation a system starts, and once more to be sure that everything is in force.
            assert_eq!(
                bmc.starts() - resets,
                2 * expected,
                "{stage:?} with {death:?}: starts of the system"
            );
        }
        assert_eq!(self.deaths - before, reached);
        (after, reached)
    }
}

/// Kills on one side of every call. Returns how many calls there were.
fn kill_everywhere(side: Side) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::start(dir.path().to_owned()).await;
        crate::world::namespace(&world.cluster.host).await;
        tokio::time::pause();
        world.live().await;
        let (expected, _) = world.life(None).await;
        assert_eq!(expected[2].without_kinds(), world.before.without_kinds());
        let mut killed = 0;
        for call in 1.. {
            let death = Death { call, side };
            let (seen, reached) = world.life(Some(death)).await;
            for (stage, (seen, expected)) in STAGES.into_iter().zip(seen.iter().zip(&expected)) {
                assert_eq!(seen, expected, "{stage:?} with {death:?}");
            }
            if reached == 0 {
                break;
            }
            killed += reached;
        }
        world.process.take().unwrap().bury().await;
        world.cluster.shutdown().await;
        killed
    })
}

#[test]
fn killed_before_every_call() {
    let started = std::time::Instant::now();
    let killed = kill_everywhere(Side::Before);
    eprintln!(
        "killed {killed} times before a call in {:?}",
        started.elapsed()
    );
    assert!(killed > 50, "{killed}");
}

#[test]
fn killed_after_every_call() {
    let started = std::time::Instant::now();
    let killed = kill_everywhere(Side::After);
    eprintln!(
        "killed {killed} times after a call in {:?}",
        started.elapsed()
    );
    assert!(killed > 50, "{killed}");
}
