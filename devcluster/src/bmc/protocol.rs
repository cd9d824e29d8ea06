//! Requests and answers: JSON over HTTP.

use super::Bmc;
use super::state::{Command, State, System, Task, TaskState};
use crate::servers::{Answer, json, text};
use base64::Engine as _;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json as value};

/// Where everything is.
const ROOT: &str = "/redfish/v1";
/// Part number of the simulated card: BlueField-3, 16 cores, 32 GB.
const PART_NUMBER: &str = "900-9D3B6-00CV-AA0";

/// Answers one request.
pub fn answer(bmc: &Bmc, request: &Request<Bytes>) -> Answer {
    let path = request.uri().path().trim_end_matches('/');
    let Some(path) = path.strip_prefix(ROOT) else {
        return error(StatusCode::NOT_FOUND, "there is only /redfish/v1 here");
    };
    let mut state = bmc.state();
    if let Some(less) = state.busy.checked_sub(1) {
        state.busy = less;
        return text(StatusCode::SERVICE_UNAVAILABLE, "busy as asked");
    }
    if !path.is_empty() && !is_authorized(bmc, request) {
        let mut answer = error(
            StatusCode::UNAUTHORIZED,
            "user root and its password are required",
        );
        let challenge = HeaderValue::from_static("Basic realm=\"bmc\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return answer;
    }
    if request.method() == Method::GET {
        return match read(bmc, &state, path) {
            Some(found) => json(StatusCode::OK, &found),
            None => error(StatusCode::NOT_FOUND, "no such resource"),
        };
    }
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    match (request.method().as_str(), path) {
        ("PATCH", "/Managers/Bluefield_BMC/Oem/Nvidia") => {
            match body
                .pointer("/BmcRShim/BmcRShimEnabled")
                .and_then(Value::as_bool)
            {
                Some(enabled) => {
                    state.rshim = enabled;
                    json(StatusCode::OK, &value!({}))
                }
                None => error(
                    StatusCode::BAD_REQUEST,
                    "BmcRShim.BmcRShimEnabled must be a boolean",
                ),
            }
        }
        ("POST", "/UpdateService/Actions/UpdateService.SimpleUpdate") => {
            update(bmc, &mut state, &body, request.body())
        }
        ("POST", "/Systems/Bluefield/Actions/ComputerSystem.Reset") => reset(bmc, &state),
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "no such action"),
    }
}

fn is_authorized(bmc: &Bmc, request: &Request<Bytes>) -> bool {
    let Some(password) = &bmc.card.password else {
        return true;
    };
    let expected = base64::engine::general_purpose::STANDARD.encode(format!("root:{password}"));
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok());
    given.and_then(|text| text.strip_prefix("Basic ")) == Some(expected.as_str())
}

fn read(bmc: &Bmc, state: &State, path: &str) -> Option<Value> {
    if let Some(id) = path.strip_prefix("/TaskService/Tasks/") {
        let task = state.tasks.iter().find(|task| task.id.to_string() == id);
        return task.map(describe);
    }
    Some(match path {
        "" => value!({
            "@odata.id": ROOT, "RedfishVersion": "1.17.0", "Name": "Simulated BMC",
            "Systems": {"@odata.id": "/redfish/v1/Systems"}, "Chassis": {"@odata.id": "/redfish/v1/Chassis"},
            "UpdateService": {"@odata.id": "/redfish/v1/UpdateService"}, "Tasks": {"@odata.id": "/redfish/v1/TaskService"}
        }),
        "/Chassis/Card1" => value!({"SerialNumber": bmc.card.serial, "PartNumber": PART_NUMBER}),
        "/Systems/Bluefield" => value!({
            "Id": "Bluefield", "PowerState": "On", "LastResetTime": format!("reset {}", state.resets),
            "BootProgress": {
                "LastState": if state.system == System::Running { "OSRunning" } else { "OEM" },
                "OemLastState": state.system.oem_last_state()
            }
        }),
        "/Managers/Bluefield_BMC/Oem/Nvidia" => {
            value!({"BmcRShim": {"BmcRShimEnabled": state.rshim}})
        }
        "/TaskService/Tasks" => {
            let members: Vec<_> = state
                .tasks
                .iter()
                .map(|t| value!({"@odata.id": link(t)}))
                .collect();
            value!({"Members@odata.count": members.len(), "Members": members})
        }
        "/UpdateService/FirmwareInventory/DPU_UEFI" => firmware("DPU_UEFI", &state.versions.uefi),
        "/UpdateService/FirmwareInventory/DPU_BSP" => firmware("DPU_BSP", &state.versions.bsp),
        "/UpdateService/FirmwareInventory/DPU_ATF" => firmware("DPU_ATF", &state.versions.atf),
        _ => return None,
    })
}

fn firmware(id: &str, version: &str) -> Value {
    value!({"Id": id, "Version": version})
}

fn link(task: &Task) -> String {
    format!("{ROOT}/TaskService/Tasks/{}", task.id)
}

fn describe(task: &Task) -> Value {
    let (state, status) = match task.state {
        TaskState::Running => ("Running", "OK"),
        TaskState::Completed => ("Completed", "OK"),
        TaskState::Exception => ("Exception", "Critical"),
    };
    let messages: Vec<_> = task
        .message
        .iter()
        .map(|m| value!({"Message": m}))
        .collect();
    value!({
        "@odata.id": link(task), "Id": task.id.to_string(), "TaskState": state, "TaskStatus": status,
        "PercentComplete": task.percent, "Messages": messages,
        "Payload": {"HttpOperation": "POST", "JsonBody": task.request}
    })
}

fn update(bmc: &Bmc, state: &mut State, body: &Value, request: &Bytes) -> Answer {
    let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let uri = field("ImageURI");
    let scheme = match field("TransferProtocol") {
        "HTTP" => "http://",
        "HTTPS" => "https://",
        other => {
            let message = format!("TransferProtocol {other:?} is not HTTP or HTTPS");
            return error(StatusCode::BAD_REQUEST, &message);
        }
    };
    if !uri.starts_with(scheme) {
        let message = format!("ImageURI {uri:?} does not start with {scheme}");
        return error(StatusCode::BAD_REQUEST, &message);
    }
    let targets = body.get("Targets").and_then(Value::as_array);
    let is_system = |target: &Value| target.as_str().is_some_and(|t| t.ends_with("/DPU_OS"));
    if !targets.is_some_and(|targets| targets.iter().any(is_system)) {
        return error(
            StatusCode::BAD_REQUEST,
            "Targets must name FirmwareInventory/DPU_OS",
        );
    }
    if !state.rshim {
        return error(StatusCode::BAD_REQUEST, "BmcRShim is not enabled");
    }
    let request = String::from_utf8_lossy(request).into_owned();
    let Some(task) = state.begin(request) else {
        return error(StatusCode::BAD_REQUEST, "an update is in progress");
    };
    let uri = uri.to_owned();
    match bmc
        .commands
        .try_send(Command::Install { task: task.id, uri })
    {
        Ok(()) => json(StatusCode::ACCEPTED, &describe(&task)),
        Err(_) => {
            state.failed(task.id, "the BMC is restarting");
            error(StatusCode::SERVICE_UNAVAILABLE, "busy")
        }
    }
}

fn reset(bmc: &Bmc, state: &State) -> Answer {
    if state.is_installing() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "an update is in progress");
    }
    match bmc.commands.try_send(Command::Reset) {
        Ok(()) => text(StatusCode::NO_CONTENT, ""),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "busy"),
    }
}

fn error(status: StatusCode, message: &str) -> Answer {
    json(
        status,
        &value!({"error": {"code": "Base.1.18.GeneralError", "message": message}}),
    )
}
