//! What to write where.

use super::{Child, ClusterKey, FanOut, Observed};
use crate::drift::metadata_drifted;
use kube::Resource;

/// One write in one DPU cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<C> {
    /// Write the child; create its namespace first if `new`.
    Apply {
        /// Where.
        cluster: ClusterKey,
        /// What.
        child: C,
        /// The child does not exist yet.
        new: bool,
    },
    /// Delete the child.
    Delete {
        /// Where.
        cluster: ClusterKey,
        /// What.
        child: C,
    },
}

/// Compares every cluster with what it should hold. Clusters that did not answer are left out.
pub fn plan<P: FanOut>(parent: &P, observed: &[Observed<P::Child>]) -> Vec<Action<P::Child>> {
    let deleting = parent.meta().deletion_timestamp.is_some();
    let desired = parent.child();
    observed
        .iter()
        .filter_map(|cluster| {
            let child = cluster.child.as_ref().ok()?.as_ref();
            let key = cluster.cluster.clone();
            match child {
                _ if cluster.selected && !deleting => {
                    let differs = child.is_none_or(|child| differs::<P>(&desired, child));
                    differs.then(|| Action::Apply {
                        cluster: key,
                        child: desired.clone(),
                        new: child.is_none(),
                    })
                }
                Some(child) if child.meta().deletion_timestamp.is_none() => Some(Action::Delete {
                    cluster: key,
                    child: child.clone(),
                }),
                _ => None,
            }
        })
        .collect()
}

/// A child that is being deleted is left alone until it is gone; then it is made again.
fn differs<P: FanOut>(desired: &P::Child, observed: &P::Child) -> bool {
    observed.meta().deletion_timestamp.is_none()
        && (!desired.same_spec(observed)
            || metadata_drifted(P::VOCABULARY.manager, desired.meta(), observed.meta()))
}
