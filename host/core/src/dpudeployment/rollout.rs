//! Which revision of a service, interface or chain is the current one, and which older ones stay.
//!
//! ```text
//!   digest exists ─────────────────────────────> Current   older ones stay until it is ready everywhere
//!   only older ones ── disruptive change ──────> New       the running one and the newest others stay
//!                   └─ non-disruptive change ──> InPlace   the newest older one is changed
//!   nothing ───────────────────────────────────> New
//! ```

use crate::names::{derived_name, name_of};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use std::collections::BTreeSet;

/// Names that were tried before the search for a free one ends; a name is taken only while its object terminates.
const ATTEMPTS_MAX: u32 = 64;

/// How the desired revision relates to what exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Case {
    /// It exists.
    Current,
    /// An older revision becomes it.
    InPlace,
    /// It is created.
    New,
}

/// The outcome for one service, interface or chain.
#[derive(Clone, Debug)]
pub struct Choice<'a, K> {
    /// Name of the desired revision.
    pub name: String,
    /// How it relates to what exists.
    pub case: Case,
    /// The object of that name, unless it is new.
    pub existing: Option<&'a K>,
    /// Older revisions that stay for now, newest first.
    pub retained: Vec<&'a K>,
    /// Older revisions beyond the history and duplicates.
    pub surplus: Vec<&'a K>,
}

impl<K> Choice<'_, K> {
    /// Whether the revision is on its way, or an older one is still there.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.case != Case::Current || !self.retained.is_empty()
    }
}

/// What a choice depends on besides the objects.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The desired digest.
    pub digest: &'a str,
    /// Whether a change makes a new revision.
    pub disruptive: bool,
    /// `spec.revisionHistoryLimit`, at least 1.
    pub history_limit: usize,
    /// Generated names are `<base>-<5 characters>`.
    pub base: &'a str,
    /// Uid of the deployment.
    pub owner_uid: &'a str,
    /// Names of objects that are not among the revisions.
    pub taken: &'a BTreeSet<String>,
}

/// Chooses among the revisions of one service, interface or chain.
///
/// `digest_of` reads the digest of an object, `is_ready` tells whether it runs. Terminating objects count for nothing but
/// the names they hold. The running revision stays whatever the limit says.
pub fn choose<'a, K: Resource>(
    objects: impl IntoIterator<Item = &'a K>,
    rules: Rules<'_>,
    digest_of: impl Fn(&K) -> Option<&str>,
    is_ready: impl Fn(&K) -> bool,
) -> Choice<'a, K> {
    let (terminating, mut live): (Vec<&K>, Vec<&K>) = objects
        .into_iter()
        .partition(|object| object.meta().deletion_timestamp.is_some());
    live.sort_by(|a, b| age_key(b.meta()).cmp(&age_key(a.meta())));
    let (mut same, older): (Vec<&K>, Vec<&K>) = live
        .into_iter()
        .partition(|object| digest_of(object) == Some(rules.digest));
    // A live object may carry the name of a digest that it had before it was changed in place.
    let held: BTreeSet<String> = terminating
        .iter()
        .chain(&same)
        .chain(&older)
        .map(|object| name_of(*object))
        .chain(rules.taken.iter().cloned())
        .collect();
    if let Some(current) = same.pop() {
        // The oldest object of a digest wins; younger ones are duplicates.
        return Choice {
            name: name_of(current),
            case: Case::Current,
            existing: Some(current),
            retained: older,
            surplus: same,
        };
    }
    if !rules.disruptive
        && let Some((newest, rest)) = older.split_first()
    {
        let keep = rules.history_limit.saturating_sub(1);
        // The newest one goes on running while it is changed; otherwise another one that runs has to stay.
        let must_run = |object: &K| !is_ready(newest) && is_ready(object);
        let (retained, surplus) = with_the_running_one(rest.to_vec(), keep, must_run);
        return Choice {
            name: name_of(*newest),
            case: Case::InPlace,
            existing: Some(newest),
            retained,
            surplus,
        };
    }
    let keep = rules.history_limit.saturating_sub(1).max(1);
    let (retained, surplus) = with_the_running_one(older, keep, is_ready);
    Choice {
        name: free_name(&rules, &held),
        case: Case::New,
        existing: None,
        retained,
        surplus,
    }
}

/// The newest `keep` objects, among them in any case the newest one that runs.
fn with_the_running_one<K>(
    older: Vec<&K>,
    keep: usize,
    is_ready: impl Fn(&K) -> bool,
) -> (Vec<&K>, Vec<&K>) {
    let running = older.iter().position(|object| is_ready(object));
    let mut retained = Vec::new();
    let mut surplus = Vec::new();
    for (position, object) in older.into_iter().enumerate() {
        let reserved = usize::from(
            running.is_some_and(|running| running > position && retained.len() + 1 >= keep),
        );
        if Some(position) == running || retained.len() + reserved < keep {
            retained.push(object);
        } else {
            surplus.push(object);
        }
    }
    (retained, surplus)
}

fn free_name(rules: &Rules<'_>, held: &BTreeSet<String>) -> String {
    let mut attempt = 0;
    loop {
        let name = derived_name(rules.base, rules.owner_uid, rules.digest, attempt);
        if attempt >= ATTEMPTS_MAX || !held.contains(&name) {
            return name;
        }
        attempt += 1;
    }
}

/// Orders by age; names break ties so that the order is total.
fn age_key(meta: &ObjectMeta) -> (Option<jiff::Timestamp>, Option<&String>) {
    (
        meta.creation_timestamp.as_ref().map(|t| t.0),
        meta.name.as_ref(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::svc::DpuServiceTemplate as Anything;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use proptest::prelude::*;

    fn object(name: &str, digest: &str, second: i64, ready: bool, terminating: bool) -> Anything {
        let time = |s| Some(Time(jiff::Timestamp::from_second(s).unwrap()));
        let mut object = Anything::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.creation_timestamp = time(second);
        object.metadata.deletion_timestamp = terminating.then(|| time(second)).flatten();
        object.spec.deployment_service_name = digest.to_owned();
        object.spec.helm_chart.source.version = if ready { "ready" } else { "" }.to_owned();
        object
    }

    fn run<'a>(
        objects: &'a [Anything],
        disruptive: bool,
        history_limit: usize,
    ) -> Choice<'a, Anything> {
        choose(
            objects,
            Rules {
                digest: "d9",
                disruptive,
                history_limit,
                base: "producer",
                owner_uid: "uid",
                taken: &BTreeSet::new(),
            },
            |o| Some(o.spec.deployment_service_name.as_str()),
            |o| o.spec.helm_chart.source.version == "ready",
        )
    }

    fn names(objects: &[&Anything]) -> Vec<String> {
        objects.iter().map(|o| name_of(*o)).collect()
    }

    #[test]
    fn nothing_exists() {
        let choice = run(&[], true, 10);
        assert_eq!(
            (choice.case, choice.name.len()),
            (Case::New, "producer-xxxxx".len())
        );
    }

    #[test]
    fn a_terminating_object_holds_its_name() {
        let first = run(&[], true, 10).name;
        let held = [object(&first, "d9", 1, true, true)];
        let choice = run(&held, true, 10);
        assert_eq!(choice.case, Case::New);
        assert_ne!(choice.name, first);
    }

    #[test]
    fn revert_makes_the_old_revision_current_again() {
        let objects = [
            object("a", "d9", 1, true, false),
            object("b", "d8", 2, false, false),
        ];
        let choice = run(&objects, true, 10);
        assert_eq!((choice.case, choice.name.as_str()), (Case::Current, "a"));
        assert_eq!(names(&choice.retained), ["b"]);
    }

    #[test]
    fn limit_one_keeps_the_running_revision() {
        let objects = [
            object("a", "d1", 1, true, false),
            object("b", "d2", 2, false, false),
        ];
        let choice = run(&objects, true, 1);
        assert_eq!(names(&choice.retained), ["a"]);
        assert_eq!(names(&choice.surplus), ["b"]);
    }

    #[test]
    fn a_non_disruptive_change_reuses_the_newest() {
        let objects = [
            object("a", "d1", 1, true, false),
            object("b", "d2", 2, false, false),
        ];
        let choice = run(&objects, false, 10);
        assert_eq!((choice.case, choice.name.as_str()), (Case::InPlace, "b"));
        assert_eq!(names(&choice.retained), ["a"]);
    }

    #[test]
    fn of_two_objects_with_one_digest_the_older_stays() {
        let objects = [
            object("b", "d9", 2, true, false),
            object("a", "d9", 1, true, false),
        ];
        let choice = run(&objects, true, 10);
        assert_eq!(choice.name, "a");
        assert_eq!(names(&choice.surplus), ["b"]);
    }

    proptest! {
        #[test]
        fn laws(
            states in proptest::collection::vec((0u8..4, any::<bool>(), any::<bool>()), 0..8),
            disruptive: bool,
            limit in 1usize..5,
        ) {
            let objects: Vec<Anything> = states.iter().enumerate().map(|(i, (digest, ready, gone))| {
                let digest = if *digest == 3 { "d9".to_owned() } else { format!("d{digest}") };
                object(&format!("o{i}"), &digest, i64::try_from(i).unwrap(), *ready, *gone)
            }).collect();
            let choice = run(&objects, disruptive, limit);
            let mut shuffled = objects.clone();
            shuffled.reverse();
            let again = run(&shuffled, disruptive, limit);
            prop_assert_eq!(&choice.name, &again.name);
            prop_assert_eq!(names(&choice.retained), names(&again.retained));
            // Nothing that lives is forgotten, nothing is in two groups.
            let mut all = names(&choice.retained);
            all.extend(names(&choice.surplus));
            all.extend(choice.existing.map(name_of));
            all.sort();
            let mut live: Vec<String> =
                objects.iter().filter(|o| o.metadata.deletion_timestamp.is_none()).map(name_of).collect();
            live.sort();
            prop_assert_eq!(all, live);
            // The newest running revision is never surplus when a new one is made.
            if choice.case == Case::New {
                let running = objects.iter().rev().find(|o| {
                    o.metadata.deletion_timestamp.is_none() && o.spec.helm_chart.source.version == "ready"
                });
                if let Some(running) = running {
                    prop_assert!(names(&choice.retained).contains(&name_of(running)));
                }
                prop_assert!(choice.retained.len() <= limit.saturating_sub(1).max(1));
            }
        }
    }
}
