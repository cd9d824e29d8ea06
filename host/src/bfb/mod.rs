//! Controller of BFB: fetches images, reads their versions, keeps them while they are used.
//!
//! What happens to a file is decided in `dpf_core::bfb`; `store` reads and writes files.

pub(crate) mod store;

use crate::kit::{
    self, Context, Failure, Next, Shutdown, WriteError, add_finalizer, in_one_line,
    remove_finalizer, run as run_controller, whole_seconds, write_whole_status,
};
use dpf_api::conditions::{READY, bfb as types, reasons};
use dpf_api::keys::{finalizers, managers};
use dpf_api::provisioning::{Bfb, BfbPhase, BfbStatus, BfbVersions, Dpu, DpuSet};
use dpf_core::bfb::{Action, Inspected, accept, file_name, pause, plan, users};
use dpf_core::conditions::{Conditions, Verdict};
use jiff::Timestamp;
use kube::runtime::controller::Controller;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use store::FetchError;

/// How often it is checked that the file of a Ready image is still there, and whether a used one is still used.
const RECHECK: Duration = Duration::from_secs(30);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let api: Api<Bfb> = Api::all(context.client.clone());
    let controller = Controller::new(api, watcher::Config::default());
    run_controller(controller, context, shutdown, reconcile).await;
}

async fn reconcile(bfb: Arc<Bfb>, context: Arc<Context>) -> Result<Next, Failure> {
    // The queue may hold an older state than the one this controller wrote last.
    let Some(bfb) = fresh(&context, &bfb).await? else {
        return Ok(Next::OnEvent);
    };
    let bfb = &bfb;
    let deleting = bfb.metadata.deletion_timestamp.is_some();
    if deleting && !bfb.finalizers().iter().any(|f| f == finalizers::BFB) {
        return Ok(Next::OnEvent);
    }
    if !deleting && add_finalizer(&context.client, managers::BFB, bfb, finalizers::BFB).await? {
        return Ok(Next::OnEvent);
    }
    let path = store::path(&context, &file_name(bfb));
    let stored = store::look(&path)
        .await
        .map_err(Failure::store("look at", &path))?;
    let users = if deleting {
        let namespace = bfb.namespace();
        let sets: Vec<DpuSet> = kit::list(&context.client, namespace.as_deref()).await?;
        let dpus: Vec<Dpu> = kit::list(&context.client, namespace.as_deref()).await?;
        users(bfb, &sets, &dpus)
    } else {
        Vec::new()
    };
    match plan(bfb, stored, users) {
        Action::RefuseDeletion { users } => {
            report(&context, bfb, |status, conditions| {
                status.phase = BfbPhase::Deleting;
                let message = format!(
                    "BFB cannot be deleted, still referenced by {}: delete or change these first",
                    users.join(", ")
                );
                conditions.set(types::DELETED, &Verdict::no(reasons::PENDING, message));
                conditions.set(
                    READY,
                    &Verdict::no(reasons::AWAITING_DELETION, "the BFB is being deleted"),
                );
            })
            .await?;
            Ok(Next::After(RECHECK))
        }
        Action::Remove => {
            store::remove(&context, bfb).await?;
            remove_finalizer(&context.client, managers::BFB, bfb, finalizers::BFB).await?;
            Ok(Next::OnEvent)
        }
        Action::Keep => {
            report(&context, bfb, |status, conditions| {
                status.phase = BfbPhase::Ready;
                ready(conditions);
            })
            .await?;
            Ok(Next::After(RECHECK))
        }
        action @ (Action::Inspect | Action::Download) => obtain(&context, bfb, action).await,
    }
}

/// The object as the API server has it, none when it is gone.
async fn fresh(context: &Context, bfb: &Bfb) -> Result<Option<Bfb>, Failure> {
    let now: Option<Bfb> = kit::get(
        &context.client,
        &bfb.namespace().unwrap_or_default(),
        &bfb.name_any(),
    )
    .await?;
    Ok(now.filter(|now| now.uid() == bfb.uid()))
}

/// Fetches or reads the file. If cancelled, a temporary file may stay; the next attempt replaces it.
async fn obtain(context: &Context, bfb: &Bfb, action: Action) -> Result<Next, Failure> {
    let default = BfbStatus::default();
    let observed = bfb.status.as_ref().unwrap_or(&default);
    let wait = pause(observed, context.now());
    if !wait.is_zero() && observed.observed_generation == bfb.metadata.generation {
        return Ok(Next::After(wait));
    }
    let began = context.now();
    report(context, bfb, |status, conditions| {
        status.phase = BfbPhase::Downloading;
        status.file_name = Some(file_name(bfb));
        status.last_attempt_time = Some(whole_seconds(began));
        conditions.put(types::INITIALIZED, "True", types::INITIALIZED, "");
        conditions.set(
            types::DOWNLOADED,
            &Verdict::no(reasons::PENDING, "the file is being fetched"),
        );
        conditions.set(
            READY,
            &Verdict::no(reasons::PENDING, "the file is being fetched"),
        );
    })
    .await?;
    let Some(bfb) = &fresh(context, bfb).await? else {
        return Ok(Next::OnEvent);
    };
    let outcome = match action {
        Action::Inspect => store::inspect(&store::path(context, &file_name(bfb))).await,
        _ => store::fetch(context, bfb).await,
    };
    let accepted = outcome.and_then(|inspected| {
        let versions = accept(bfb, &inspected).map_err(FetchError::Unacceptable)?;
        Ok((inspected, versions))
    });
    match accepted {
        Ok((inspected, versions)) => {
            store::keep(context, bfb).await?;
            succeed(context, bfb, &inspected, versions).await?;
            Ok(Next::After(RECHECK))
        }
        Err(FetchError::Deleted) => {
            store::discard(context, bfb).await?;
            Ok(Next::After(Duration::ZERO))
        }
        Err(error) => {
            store::discard(context, bfb).await?;
            fail(context, bfb, &error, began).await
        }
    }
}

async fn succeed(
    context: &Context,
    bfb: &Bfb,
    inspected: &Inspected,
    versions: BfbVersions,
) -> Result<(), WriteError> {
    report(context, bfb, |status, conditions| {
        status.phase = BfbPhase::Ready;
        status.file_name = Some(file_name(bfb));
        status.checksum = Some(inspected.checksum.clone());
        status.size_bytes = i64::try_from(inspected.size_bytes).ok();
        status.versions = Some(versions);
        status.failures = None;
        status.last_attempt_time = None;
        ready(conditions);
    })
    .await
}

async fn fail(
    context: &Context,
    bfb: &Bfb,
    error: &FetchError,
    began: Timestamp,
) -> Result<Next, Failure> {
    let message = in_one_line(error);
    tracing::warn!(
        namespace = bfb.namespace(),
        name = bfb.name_any(),
        "BFB failed: {message}"
    );
    let before = bfb.status.as_ref().and_then(|s| s.failures).unwrap_or(0);
    let failed = BfbStatus {
        failures: Some(before.saturating_add(1)),
        last_attempt_time: Some(whole_seconds(began)),
        ..BfbStatus::default()
    };
    let wait = pause(&failed, context.now());
    report(context, bfb, |status, conditions| {
        status.phase = BfbPhase::Error;
        status.file_name = Some(file_name(bfb));
        status.failures = failed.failures;
        status.last_attempt_time = failed.last_attempt_time.clone();
        conditions.put(types::INITIALIZED, "True", types::INITIALIZED, "");
        let verdict = Verdict::no(
            reasons::ERROR,
            format!("{message}. Attempt {} comes by itself", before + 2),
        );
        conditions.set(types::DOWNLOADED, &verdict);
        conditions.set(READY, &verdict);
        conditions.put(types::ERROR, "True", types::ERROR, &message);
    })
    .await?;
    Ok(Next::After(wait.max(Duration::from_secs(1))))
}

fn ready(conditions: &mut Conditions) {
    for type_ in [types::INITIALIZED, types::DOWNLOADED, READY] {
        conditions.put(type_, "True", type_, "");
    }
    if conditions.get(types::ERROR).is_some() {
        conditions.put(types::ERROR, "False", "Recovered", "");
    }
}

/// Writes the status that `change` makes of the observed one, if it differs.
async fn report(
    context: &Context,
    bfb: &Bfb,
    change: impl FnOnce(&mut BfbStatus, &mut Conditions),
) -> Result<(), WriteError> {
    let mut status = bfb.status.clone().unwrap_or_default();
    let generation = bfb.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    change(&mut status, &mut conditions);
    status.conditions = Some(conditions.into_list());
    status.observed_generation = Some(generation);
    write_whole_status(
        context,
        managers::BFB,
        bfb,
        &status,
        &["failures", "lastAttemptTime"],
    )
    .await
}
