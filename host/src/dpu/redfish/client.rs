//! Requests to one BMC.

use super::error::RedfishError;
use super::model::{BmcOem, Card, Collection, Inventory, System, Task, TaskOutcome};
use crate::kit::{self, Context, Failure};
use dpf_api::keys::annotations;
use dpf_api::provisioning::DpuDevice;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Secret with the password of all BMCs.
const SHARED_PASSWORD: &str = "bmc-shared-password";
/// Port of a BMC when the device names none.
const PORT_DEFAULT: u16 = 443;
/// Characters of an error that are shown.
const MESSAGE_MAX: usize = 300;
/// Tasks that are looked at when ours is searched.
const TASKS_MAX: usize = 64;

/// The BMC of one DPU.
#[derive(Clone)]
pub struct Bmc {
    http: reqwest::Client,
    base: String,
    password: Option<String>,
}

impl Bmc {
    /// The BMC of a device; the password is looked up in the namespace of the DPU, then in that of the operator.
    ///
    /// # Errors
    /// [`Failure`] when the API server does not answer; inside, [`RedfishError::NoAddress`].
    pub async fn of(
        context: &Context,
        device: &DpuDevice,
        namespace: &str,
    ) -> Result<Result<Self, RedfishError>, Failure> {
        let address = device
            .spec
            .bmc_ip
            .as_deref()
            .or_else(|| device.status.as_ref()?.bmc_ip.as_deref())
            .and_then(|text| text.parse::<Ipv4Addr>().ok());
        let Some(address) = address else {
            return Ok(Err(RedfishError::NoAddress {
                device: device.name_any(),
            }));
        };
        let plain = device
            .annotations()
            .get(annotations::BMC_SCHEME)
            .is_some_and(|scheme| scheme == "http");
        let scheme = if plain { "http" } else { "https" };
        let port = device.spec.bmc_port.unwrap_or(PORT_DEFAULT);
        Ok(Ok(Self {
            http: context.http.clone(),
            base: format!("{scheme}://{address}:{port}"),
            password: password(context, device, namespace).await?,
        }))
    }

    /// What the card says about itself.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn card(&self) -> Result<Card, RedfishError> {
        self.get("identify the card", "/redfish/v1/Chassis/Card1")
            .await
    }

    /// The system on the card.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn system(&self) -> Result<System, RedfishError> {
        self.get("read the system", "/redfish/v1/Systems/Bluefield")
            .await
    }

    /// Whether the path for images is open; it is opened when it is not. True also where there is nothing to open.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn open_rshim(&self) -> Result<bool, RedfishError> {
        const ACTION: &str = "enable RShim";
        const PATH: &str = "/redfish/v1/Managers/Bluefield_BMC/Oem/Nvidia";
        match self.get::<BmcOem>(ACTION, PATH).await {
            Ok(oem) if oem.rshim.enabled => Ok(true),
            Ok(_) => {
                let body = json!({"BmcRShim": {"BmcRShimEnabled": true}});
                self.send(ACTION, Method::PATCH, PATH, Some(&body)).await?;
                Ok(false)
            }
            Err(RedfishError::NotFound { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Starts an installation; returns its task. Not repeatable: look for the task first.
    ///
    /// # Errors
    /// [`RedfishError`]; `InProgress` when another one runs.
    pub async fn install(&self, image: &str) -> Result<Task, RedfishError> {
        const ACTION: &str = "start the installation";
        let secure = image.starts_with("https://");
        let body = json!({
            "ImageURI": image,
            "TransferProtocol": if secure { "HTTPS" } else { "HTTP" },
            "Targets": ["redfish/v1/UpdateService/FirmwareInventory/DPU_OS"],
        });
        let path = "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate";
        let text = self.send(ACTION, Method::POST, path, Some(&body)).await?;
        self.decode(ACTION, &text)
    }

    /// A task by its number; none when the BMC does not know it.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn task(&self, id: &str) -> Result<Option<Task>, RedfishError> {
        let path = format!("/redfish/v1/TaskService/Tasks/{id}");
        match self.get("follow the installation", &path).await {
            Ok(task) => Ok(Some(task)),
            Err(RedfishError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The task whose image has this path, from the newest to the oldest.
    ///
    /// When the BMC does not tell what tasks are for, a single running one is taken for it if `adopt` says so.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn find_task(&self, image: &str, adopt: bool) -> Result<Option<Task>, RedfishError> {
        const ACTION: &str = "look for the installation";
        let path = "/redfish/v1/TaskService/Tasks";
        let collection: Collection = match self.get(ACTION, path).await {
            Err(RedfishError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let mut untold = Vec::new();
        for link in collection.members.iter().rev().take(TASKS_MAX) {
            let task: Task = match self.get(ACTION, &link.id).await {
                Err(RedfishError::NotFound { .. }) => continue,
                other => other?,
            };
            match task.is_for(image) {
                Some(true) => return Ok(Some(task)),
                Some(false) => {}
                None if task.outcome() == TaskOutcome::Running => untold.push(task),
                None => {}
            }
        }
        match (adopt, untold.len()) {
            (true, 1) => Ok(untold.pop()),
            _ => Ok(None),
        }
    }

    /// Version of a part of the firmware; none when the BMC does not tell.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn firmware(&self, part: &str) -> Result<Option<String>, RedfishError> {
        let path = format!("/redfish/v1/UpdateService/FirmwareInventory/{part}");
        match self
            .get::<Inventory>("read the firmware version", &path)
            .await
        {
            Ok(inventory) => Ok(inventory.version.filter(|version| !version.is_empty())),
            Err(RedfishError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Restarts the ARM cores.
    ///
    /// # Errors
    /// [`RedfishError`].
    pub async fn reset(&self) -> Result<(), RedfishError> {
        let path = "/redfish/v1/Systems/Bluefield/Actions/ComputerSystem.Reset";
        let body = json!({"ResetType": "GracefulRestart"});
        self.send("restart the DPU", Method::POST, path, Some(&body))
            .await?;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(
        &self,
        action: &'static str,
        path: &str,
    ) -> Result<T, RedfishError> {
        let text = self.send(action, Method::GET, path, None).await?;
        self.decode(action, &text)
    }

    fn decode<T: DeserializeOwned>(
        &self,
        action: &'static str,
        text: &str,
    ) -> Result<T, RedfishError> {
        serde_json::from_str(text).map_err(|source| RedfishError::Malformed {
            action,
            bmc: self.base.clone(),
            source,
        })
    }

    async fn send(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, RedfishError> {
        let unreachable = |source: reqwest::Error| RedfishError::Unreachable {
            action,
            bmc: self.base.clone(),
            source: source.without_url(),
        };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(TIMEOUT);
        if let Some(password) = &self.password {
            request = request.basic_auth("root", Some(password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(text);
        }
        let bmc = self.base.clone();
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RedfishError::Unauthorized { action, bmc }
            }
            StatusCode::NOT_FOUND => RedfishError::NotFound { action, bmc },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => RedfishError::Busy {
                action,
                bmc,
                status: status.as_u16(),
            },
            StatusCode::BAD_REQUEST if text.to_ascii_lowercase().contains("in progress") => {
                RedfishError::InProgress { action, bmc }
            }
            _ => RedfishError::Refused {
                action,
                bmc,
                status: status.as_u16(),
                message: text.chars().take(MESSAGE_MAX).collect(),
            },
        })
    }
}

async fn password(
    context: &Context,
    device: &DpuDevice,
    namespace: &str,
) -> Result<Option<String>, Failure> {
    let own = device.spec.bmc_credential_secret_name.as_deref();
    let device_namespace = device.namespace().unwrap_or_default();
    let operator_namespace = context.settings.operator_namespace.as_str();
    let places = [
        own.map(|name| (device_namespace.as_str(), name)),
        Some((namespace, SHARED_PASSWORD)),
        Some((operator_namespace, SHARED_PASSWORD)),
    ];
    for (namespace, name) in places.into_iter().flatten() {
        let secret: Option<Secret> = kit::get(&context.client, namespace, name).await?;
        let password = secret
            .and_then(|secret| secret.data?.remove("password"))
            .and_then(|bytes| String::from_utf8(bytes.0).ok());
        if let Some(password) = password {
            return Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
    Ok(None)
}
