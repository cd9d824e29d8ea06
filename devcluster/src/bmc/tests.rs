use super::*;
use crate::images::{Versions, image};
use crate::servers::{Listener, body};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const BLOCK: &str = "# dpf:begin 1\n# dpf:node-name=worker-1-mt1\n# dpf:dpu-namespace=ns\n# dpf:dpu-name=worker-1-mt1\n\
    # dpf:dpu-uid=u1\n# dpf:api-server=https://127.0.0.1:1\n# dpf:token=abcdef.0123456789abcdef\n# dpf:flavor=f\n# dpf:end\n";

fn versions() -> Versions {
    Versions::of_bundle("bf-bundle-2.9.0-33_x.bfb").unwrap()
}

struct Lab {
    bmc: Arc<Bmc>,
    url: String,
    registry: String,
    booted: mpsc::Receiver<Booted>,
    http: reqwest::Client,
    tasks: JoinSet<()>,
}

/// A BMC and a registry that serves `/good` (image and bf.cfg) and `/bare` (image without bf.cfg).
async fn lab() -> Lab {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut tasks = JoinSet::new();
    let stop = CancellationToken::new();
    let registry = Listener::bind().await.unwrap();
    let registry_url = registry.url();
    let handler: Handler = Arc::new(|request| {
        async move {
            let bare = image(&versions()).to_vec();
            let ok = |bytes: Vec<u8>| body(StatusCode::OK, "application/octet-stream", bytes);
            match request.uri().path() {
                "/good" => ok([bare, BLOCK.as_bytes().to_vec()].concat()),
                "/bare" => ok(bare),
                "/text" => ok(b"hello".to_vec()),
                _ => body(StatusCode::NOT_FOUND, "text/plain", "no"),
            }
        }
        .boxed()
    });
    tasks.spawn(registry.serve(stop.clone(), handler));
    let (sender, booted) = mpsc::channel(4);
    let http = reqwest::Client::new();
    let card = Card {
        number: 3,
        serial: "MT1".to_owned(),
        password: Some("secret".to_owned()),
    };
    let (bmc, worker) = Bmc::new(card, sender, http.clone());
    tasks.spawn(worker.run(stop.clone()));
    let listener = Listener::bind().await.unwrap();
    let url = listener.url();
    tasks.spawn(listener.serve(stop, bmc.handler()));
    Lab {
        bmc,
        url,
        registry: registry_url,
        booted,
        http,
        tasks,
    }
}

impl Lab {
    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}/redfish/v1{path}", self.url));
        let answer = request
            .basic_auth("root", Some("secret"))
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or_default(),
        )
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let request = self
            .http
            .request(method, format!("{}/redfish/v1{path}", self.url));
        let answer = request
            .basic_auth("root", Some("secret"))
            .json(&body)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or_default(),
        )
    }

    async fn open(&self) {
        let body = json!({"BmcRShim": {"BmcRShimEnabled": true}});
        let (status, _) = self
            .send(
                reqwest::Method::PATCH,
                "/Managers/Bluefield_BMC/Oem/Nvidia",
                body,
            )
            .await;
        assert_eq!(status, 200);
    }

    async fn install(&self, path: &str) -> (u16, Value) {
        let body = json!({
            "ImageURI": format!("{}{path}", self.registry), "TransferProtocol": "HTTP",
            "Targets": ["redfish/v1/UpdateService/FirmwareInventory/DPU_OS"]
        });
        let path = "/UpdateService/Actions/UpdateService.SimpleUpdate";
        self.send(reqwest::Method::POST, path, body).await
    }

    /// Asks like a client until the task has ended.
    async fn end_of(&self, id: &str) -> Value {
        loop {
            let (_, task) = self.get(&format!("/TaskService/Tasks/{id}")).await;
            if task["TaskState"] != "Running" {
                return task;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_installation_ends_with_a_running_system_that_knows_where_to_join() {
    let mut lab = lab().await;
    lab.open().await;
    let (status, task) = lab.install("/good").await;
    assert_eq!((status, task["TaskState"].as_str()), (202, Some("Running")));
    let (status, refusal) = lab.install("/good").await;
    assert_eq!(status, 400);
    assert!(refusal.to_string().contains("in progress"));
    let id = task["Id"].as_str().unwrap();
    let task = lab.end_of(id).await;
    assert_eq!(task["TaskState"], "Completed", "{task}");
    assert!(
        task["Payload"]["JsonBody"]
            .as_str()
            .unwrap()
            .contains("/good")
    );
    let booted = lab.booted.recv().await.unwrap();
    assert_eq!(
        (booted.number, booted.join.node_name.as_str()),
        (3, "worker-1-mt1")
    );
    let (_, system) = lab.get("/Systems/Bluefield").await;
    assert_eq!(system["BootProgress"]["OemLastState"], "OsIsRunning");
    let (_, uefi) = lab.get("/UpdateService/FirmwareInventory/DPU_UEFI").await;
    assert_eq!(uefi["Version"], versions().uefi);
    let (_, tasks) = lab.get("/TaskService/Tasks").await;
    assert_eq!(
        tasks["Members"][0]["@odata.id"],
        format!("/redfish/v1/TaskService/Tasks/{id}")
    );

    let reset = json!({"ResetType": "GracefulRestart"});
    let path = "/Systems/Bluefield/Actions/ComputerSystem.Reset";
    let (status, _) = lab.send(reqwest::Method::POST, path, reset).await;
    assert_eq!(status, 204);
    assert_eq!(
        lab.booted.recv().await.unwrap(),
        booted,
        "the same system starts again"
    );
    let (_, after) = lab.get("/Systems/Bluefield").await;
    assert_ne!(after["LastResetTime"], system["LastResetTime"]);
    lab.tasks.shutdown().await;
}

#[tokio::test]
async fn what_is_no_image_for_a_dpu_is_refused_with_a_reason() {
    let lab = lab().await;
    lab.open().await;
    for (path, reason) in [
        ("/missing", "404"),
        ("/text", "boot stream"),
        ("/bare", "dpf:begin"),
    ] {
        let (_, task) = lab.install(path).await;
        let task = lab.end_of(task["Id"].as_str().unwrap()).await;
        assert_eq!(task["TaskState"], "Exception");
        let message = task["Messages"][0]["Message"].as_str().unwrap();
        assert!(message.contains(reason), "{path}: {message}");
        let (_, system) = lab.get("/Systems/Bluefield").await;
        assert_eq!(
            system["BootProgress"]["OemLastState"], "OsIsRunning",
            "the old system goes on"
        );
    }
}

#[tokio::test]
async fn faults_come_on_demand() {
    let lab = lab().await;
    let url = format!("{}/redfish/v1/Systems/Bluefield", lab.url);
    let anonymous = lab.http.get(&url).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    lab.bmc.be_busy(1);
    assert_eq!(lab.get("/Systems/Bluefield").await.0, 503);
    assert_eq!(lab.get("/Systems/Bluefield").await.0, 200);
    assert_eq!(
        lab.install("/good").await.0,
        400,
        "the path for images is closed"
    );
    lab.open().await;
    lab.bmc
        .fail_next_install(InstallFault::Exception("flash is worn out".to_owned()));
    let (_, task) = lab.install("/good").await;
    let task = lab.end_of(task["Id"].as_str().unwrap()).await;
    assert_eq!(task["Messages"][0]["Message"], "flash is worn out");
    let (_, task) = lab.install("/good").await;
    let task = lab.end_of(task["Id"].as_str().unwrap()).await;
    assert_eq!(task["TaskState"], "Completed", "only the next one fails");
}
