//! Laws of `plan` over random worlds: its own result leaves nothing to do, the order of what was read does not matter,
//! and deletion wins.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_core::dpudeployment::{Action, Observed, Plan, plan_deletion};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use support::world::{Random, World};
use support::{Deletion, carry_out_with, let_go, now, pass, words};

/// A deployment somewhere in its life: half of them in the middle of a rollout.
fn any_world() -> impl Strategy<Value = World> {
    any::<u64>().prop_map(|seed| {
        let mut random = Random(seed);
        let services = 1 + random.below(6);
        let mut world = World::new(&mut random, services);
        world.reconcile(&mut random);
        for _ in 0..random.below(6) {
            world.disturb(&mut random);
            if random.once_in(2) {
                world.reconcile(&mut random);
            }
        }
        if random.once_in(2) {
            world.disturb(&mut random);
        }
        mark(&mut world.observed);
        world
    })
}

/// The host lists what carries the mark; here that is everything the deployment refers to, and some that it does not.
fn mark(observed: &mut Observed) {
    observed.marked.bfbs = observed.bfb.clone().into_iter().collect();
    observed.marked.flavors = observed.flavor.clone().into_iter().collect();
    observed.marked.templates = observed.templates.values().cloned().collect();
    observed.marked.configurations = observed.configurations.values().cloned().collect();
    let mut stale = observed.marked.templates[0].clone();
    stale.metadata.name = Some("stale".to_owned());
    observed.marked.templates.push(stale);
}

fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.below(last + 1));
    }
}

fn shuffled(observed: &Observed, seed: u64) -> Observed {
    let mut random = Random(seed);
    let mut observed = observed.clone();
    shuffle(&mut observed.services, &mut random);
    shuffle(&mut observed.interfaces, &mut random);
    shuffle(&mut observed.chains, &mut random);
    shuffle(&mut observed.sets, &mut random);
    shuffle(&mut observed.dpus, &mut random);
    shuffle(&mut observed.marked.templates, &mut random);
    shuffle(&mut observed.marked.configurations, &mut random);
    observed
}

fn left(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .filter(|action| !matches!(action, Action::Unmark { .. }))
        .map(words)
        .collect()
}

proptest! {
    #[test]
    fn the_plan_of_an_applied_plan_is_empty(mut world in any_world()) {
        let plan = pass(&world.observed);
        let report = plan.report.clone();
        carry_out_with(&mut world.observed, plan, Deletion::Lingers);
        let mut again = pass(&world.observed);
        // What a removed service leaves goes once the sets no longer hand out its label, and these are written by the first pass.
        let removal = |action: &String| action.starts_with("delete Service ") || action.starts_with("delete Interface ");
        if !left(&again).is_empty() && left(&again).iter().all(removal) {
            carry_out_with(&mut world.observed, again, Deletion::Lingers);
            again = pass(&world.observed);
        }
        prop_assert_eq!(left(&again), Vec::<String>::new());
        prop_assert_eq!(again.report.desired, report.desired);
        prop_assert_eq!(again.report.waiting_services.keys().collect::<Vec<_>>(), report.waiting_services.keys().collect::<Vec<_>>());
    }

    #[test]
    fn the_order_of_what_was_read_does_not_matter(world in any_world(), seed in any::<u64>()) {
        let other = shuffled(&world.observed, seed);
        let (plan, again) = (pass(&world.observed), pass(&other));
        prop_assert_eq!(
            plan.actions.iter().map(words).collect::<Vec<_>>(),
            again.actions.iter().map(words).collect::<Vec<_>>()
        );
        prop_assert_eq!(plan, again);
        prop_assert_eq!(plan_deletion(&world.observed), plan_deletion(&other));
    }

    #[test]
    fn deletion_wins_and_ends(world in any_world()) {
        let mut observed = world.observed;
        observed.deployment.metadata.deletion_timestamp = Some(Time(now()));
        for _ in 0..8 {
            let plan = plan_deletion(&observed);
            for action in &plan.actions {
                let goes = matches!(
                    action,
                    Action::Delete { .. } | Action::Unpause { .. } | Action::Unmark { .. } | Action::RemoveFinalizer
                );
                prop_assert!(goes, "{}", words(action));
            }
            if plan.actions.last() == Some(&Action::RemoveFinalizer) {
                prop_assert!(observed.services.is_empty() && observed.interfaces.is_empty());
                prop_assert!(observed.chains.is_empty() && observed.sets.is_empty());
                return Ok(());
            }
            let sets_go = plan.actions.iter().any(|action| words(action).starts_with("delete Set"));
            prop_assert!(!sets_go || observed.services.is_empty(), "sets go last");
            carry_out_with(&mut observed, plan, Deletion::Lingers);
            let_go(&mut observed);
        }
        prop_assert!(false, "the deletion does not end");
    }
}
