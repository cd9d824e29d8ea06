//! The status of a DPUSet.

use super::plan::{Report, owned};
use crate::conditions::{Conditions, Verdict};
use dpf_api::conditions::{READY, dpuset, reasons};
use dpf_api::provisioning::{Dpu, DpuPhase, DpuSet};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeMap;

/// The status of a DPUSet.
#[derive(Clone, Debug, PartialEq)]
pub struct SetStatus {
    /// DPUs per phase; those that are being deleted count as `Deleting`.
    pub statistics: BTreeMap<String, i64>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// The status after a plan was carried out. `dpus` are those from before; `changed` says whether the plan wrote, and
/// `failure` what it could not write.
#[must_use]
pub fn status(
    set: &DpuSet,
    dpus: &[Dpu],
    report: &Report,
    changed: bool,
    failure: Option<&str>,
    now: Timestamp,
) -> SetStatus {
    let own: Vec<&Dpu> = dpus.iter().filter(|dpu| owned(set, dpu)).collect();
    let mut statistics = BTreeMap::new();
    for dpu in &own {
        let phase = if dpu.metadata.deletion_timestamp.is_some() {
            DpuPhase::Deleting
        } else {
            dpu.status.as_ref().map(|s| s.phase).unwrap_or_default()
        };
        *statistics.entry(phase.as_str().to_owned()).or_insert(0) += 1;
    }
    let mut conditions = Conditions::new(
        set.status.as_ref().and_then(|s| s.conditions.as_deref()),
        &[dpuset::PREREQS_RECONCILED],
        set.metadata.generation.unwrap_or_default(),
        now,
    );
    conditions.set(dpuset::PREREQS_RECONCILED, &prerequisites(report, failure));
    conditions.set(READY, &ready(set, &own, report, changed, failure));
    SetStatus {
        statistics,
        conditions: conditions.into_list(),
    }
}

fn prerequisites(report: &Report, failure: Option<&str>) -> Verdict {
    if let Some(failure) = failure {
        return Verdict::no(reasons::ERROR, failure);
    }
    if report.conflicts.is_empty() {
        Verdict::True
    } else {
        Verdict::no(reasons::ERROR, conflicts(report))
    }
}

fn conflicts(report: &Report) -> String {
    format!(
        "{}/{} DPU(s) cannot be provisioned, owned by another DPUSet:\n* {}",
        report.conflicts.len(),
        report.selected,
        report.conflicts.join("\n* ")
    )
}

fn ready(
    set: &DpuSet,
    own: &[&Dpu],
    report: &Report,
    changed: bool,
    failure: Option<&str>,
) -> Verdict {
    if set.metadata.deletion_timestamp.is_some() {
        return Verdict::no(
            reasons::AWAITING_DELETION,
            format!("{} DPU(s) are being deleted first", report.deleting),
        );
    }
    if let Some(failure) = failure {
        return Verdict::no(reasons::ERROR, failure);
    }
    if !report.conflicts.is_empty() {
        return Verdict::no(reasons::PENDING, conflicts(report));
    }
    if changed {
        return Verdict::no(reasons::PENDING, "DPUs are being reconciled");
    }
    let mut waiting: Vec<String> = own
        .iter()
        .filter_map(|dpu| {
            let name = dpu.metadata.name.as_deref().unwrap_or_default();
            if dpu.metadata.deletion_timestamp.is_some() {
                return Some(format!("{name}: is being deleted"));
            }
            let status = dpu.status.as_ref();
            let phase = status.map(|s| s.phase).unwrap_or_default();
            let current = status.and_then(|s| s.observed_generation) == dpu.metadata.generation;
            (phase != DpuPhase::Ready || !current).then(|| format!("{name}: {phase}"))
        })
        .collect();
    for name in &report.outdated {
        waiting.push(format!(
            "{name}: has another image or flavor than the DPUSet; delete it to have it replaced"
        ));
    }
    if waiting.is_empty() {
        return Verdict::True;
    }
    waiting.sort();
    Verdict::no(
        reasons::PENDING,
        format!("Some DPUs are not ready:\n* {}", waiting.join("\n* ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpuset::plan::tests::set;
    use dpf_api::keys::labels;
    use dpf_api::provisioning::DpuStatus;

    fn dpu(name: &str, phase: DpuPhase) -> Dpu {
        let mut dpu = Dpu::default();
        dpu.metadata.name = Some(name.to_owned());
        dpu.metadata.generation = Some(1);
        dpu.metadata.labels = Some(BTreeMap::from([
            (labels::DPUSET_NAME.to_owned(), "s".to_owned()),
            (labels::DPUSET_NAMESPACE.to_owned(), "n".to_owned()),
        ]));
        dpu.status = Some(DpuStatus {
            phase,
            observed_generation: Some(1),
            ..DpuStatus::default()
        });
        dpu
    }

    #[test]
    fn ready_says_what_is_missing() {
        let report = |conflicts: &[&str]| Report {
            selected: 2,
            conflicts: conflicts.iter().map(|c| (*c).to_owned()).collect(),
            ..Report::default()
        };
        let ready = [dpu("a", DpuPhase::Ready), dpu("b", DpuPhase::Ready)];
        let mixed = [dpu("a", DpuPhase::Ready), dpu("b", DpuPhase::OsInstalling)];
        for (dpus, report, changed, failure, expected, part) in [
            (&ready, report(&[]), false, None, "True", ""),
            (&ready, report(&[]), true, None, "False", "being reconciled"),
            (&ready, report(&["x"]), false, None, "False", "1/2 DPU(s)"),
            (&ready, report(&[]), false, Some("no"), "False", "no"),
            (
                &mixed,
                report(&[]),
                false,
                None,
                "False",
                "b: OS Installing",
            ),
        ] {
            let status = status(
                &set("s"),
                dpus,
                &report,
                changed,
                failure,
                Timestamp::UNIX_EPOCH,
            );
            let ready = &status.conditions[0];
            assert_eq!(
                (ready.type_.as_str(), ready.status.as_str()),
                (READY, expected)
            );
            assert!(ready.message.contains(part), "{}", ready.message);
        }
        let status = status(
            &set("s"),
            &mixed,
            &report(&[]),
            false,
            None,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            status.statistics,
            BTreeMap::from([("OS Installing".to_owned(), 1), ("Ready".to_owned(), 1)])
        );
    }
}
