//! Which cluster a DPU joins, and what the state of a static cluster means.

use crate::selectors;
use dpf_api::provisioning::{Dpu, DpuCluster, DpuClusterPhase, MAX_NODES_DEFAULT};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::cmp::Ordering;

/// Why no cluster can take a DPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCluster {
    /// There is none at all.
    #[error("there is no DPUCluster: create one")]
    None,
    /// None of them can.
    #[error("no DPUCluster can take the DPU: {0}")]
    Unsuitable(String),
}

/// The cluster for a DPU as `(namespace, name)`.
///
/// Of the clusters that are Ready, match the selector and have room, the fullest one: clusters are filled one after
/// the other. Equally full ones are taken in the order of their names.
///
/// # Errors
/// [`NoCluster`] says of each cluster why it was not taken.
pub fn allocate(
    clusters: &[DpuCluster],
    dpus: &[Dpu],
    selector: Option<&LabelSelector>,
) -> Result<(String, String), NoCluster> {
    if clusters.is_empty() {
        return Err(NoCluster::None);
    }
    let mut best: Option<Candidate> = None;
    let mut refusals = Vec::new();
    for cluster in clusters {
        let candidate = Candidate::new(cluster, dpus);
        let refusal = if cluster.metadata.deletion_timestamp.is_some() {
            Some("it is being deleted".to_owned())
        } else if !selectors::matches(selector, cluster.metadata.labels.as_ref()) {
            Some("its labels do not match the selector".to_owned())
        } else if phase(cluster) != DpuClusterPhase::Ready {
            Some(format!("it is {}", phase(cluster)))
        } else if candidate.assigned >= candidate.room {
            Some(format!("it is full ({} DPUs)", candidate.assigned))
        } else {
            None
        };
        match refusal {
            Some(why) => {
                refusals.push(format!("{}/{}: {why}", candidate.namespace, candidate.name))
            }
            None if best.as_ref().is_none_or(|b| candidate.before(b)) => best = Some(candidate),
            None => {}
        }
    }
    refusals.sort();
    best.map(|b| (b.namespace, b.name))
        .ok_or_else(|| NoCluster::Unsuitable(refusals.join("; ")))
}

/// Number of DPUs that are assigned to a cluster.
#[must_use]
pub fn assigned(cluster: &DpuCluster, dpus: &[Dpu]) -> usize {
    dpus.iter()
        .filter_map(|dpu| dpu.spec.cluster.as_ref())
        .filter(|c| c.name == cluster.metadata.name && c.namespace == cluster.metadata.namespace)
        .count()
}

fn phase(cluster: &DpuCluster) -> DpuClusterPhase {
    cluster.status.as_ref().map(|s| s.phase).unwrap_or_default()
}

struct Candidate {
    namespace: String,
    name: String,
    assigned: usize,
    room: usize,
}

impl Candidate {
    fn new(cluster: &DpuCluster, dpus: &[Dpu]) -> Self {
        let room = cluster.spec.max_nodes.unwrap_or(MAX_NODES_DEFAULT);
        Self {
            namespace: cluster.metadata.namespace.clone().unwrap_or_default(),
            name: cluster.metadata.name.clone().unwrap_or_default(),
            assigned: assigned(cluster, dpus),
            room: usize::try_from(room).unwrap_or_default(),
        }
    }

    /// Compares the ratios without dividing.
    fn before(&self, other: &Self) -> bool {
        let mine = self.assigned.saturating_mul(other.room);
        let theirs = other.assigned.saturating_mul(self.room);
        match mine.cmp(&theirs) {
            Ordering::Equal => (&self.namespace, &self.name) < (&other.namespace, &other.name),
            order => order == Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::{ClusterAssignment, DpuClusterStatus};

    fn cluster(name: &str, room: i32, phase: DpuClusterPhase) -> DpuCluster {
        let mut cluster = DpuCluster::default();
        cluster.metadata.name = Some(name.to_owned());
        cluster.metadata.namespace = Some("n".to_owned());
        cluster.spec.max_nodes = Some(room);
        cluster.status = Some(DpuClusterStatus {
            phase,
            ..DpuClusterStatus::default()
        });
        cluster
    }

    fn members(of: &str, count: usize) -> Vec<Dpu> {
        let mut dpu = Dpu::default();
        dpu.spec.cluster = Some(ClusterAssignment {
            name: Some(of.to_owned()),
            namespace: Some("n".to_owned()),
            ..ClusterAssignment::default()
        });
        vec![dpu; count]
    }

    #[test]
    fn the_fullest_with_room_wins() {
        use DpuClusterPhase::{NotReady, Ready};
        let (a, b, c) = (
            cluster("a", 10, Ready),
            cluster("b", 4, Ready),
            cluster("c", 10, NotReady),
        );
        let pick = |clusters: &[DpuCluster], dpus: &[Dpu]| {
            allocate(clusters, dpus, None)
                .map(|(_, name)| name)
                .map_err(|e| e.to_string())
        };
        let all = [b.clone(), c.clone(), a.clone()];
        assert_eq!(pick(&all, &[]), Ok("a".to_owned()));
        let mut dpus = members("a", 4);
        dpus.extend(members("b", 2));
        assert_eq!(
            pick(&all, &dpus),
            Ok("b".to_owned()),
            "2/4 is fuller than 4/10"
        );
        dpus.extend(members("b", 2));
        assert_eq!(pick(&all, &dpus), Ok("a".to_owned()), "b is full");
        dpus.extend(members("a", 6));
        let refusal = pick(&all, &dpus).unwrap_err();
        assert_eq!(
            refusal,
            "no DPUCluster can take the DPU: n/a: it is full (10 DPUs); n/b: it is full (4 DPUs); n/c: it is NotReady"
        );
        assert!(pick(&[], &[]).unwrap_err().contains("create one"));
    }
}
