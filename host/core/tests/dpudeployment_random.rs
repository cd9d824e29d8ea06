//! Random lives of a deployment: ten thousand, or as many as `RANDOM_LIVES` says. After every pass the invariants of
//! `support::world` hold; when everything becomes ready in the end, what exists is what the final spec alone would have
//! made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use support::world::canonical::canonical;
use support::world::{Random, World};

const LIVES: u64 = 10_000;

/// Most lives are small, where most mistakes show; one in eight has up to six services. Returns whether values named another service in the end.
fn live(seed: u64, world: &mut Option<World>) -> bool {
    let mut random = Random(seed);
    let services = if random.once_in(8) {
        3 + random.below(4)
    } else {
        1 + random.below(2)
    };
    let world = world.insert(World::new(&mut random, services));
    world.reconcile(&mut random);
    if random.once_in(2) {
        world.converge(&mut random);
    }
    for _ in 0..2 + random.below(5) {
        for _ in 0..1 + random.below(3) {
            world.disturb(&mut random);
        }
        world.reconcile(&mut random);
    }
    world.converge(&mut random);
    let mut fresh = world.anew();
    fresh.converge(&mut random);
    let rendered = world.rendered();
    let (state, expected) = (
        canonical(&world.observed, &rendered),
        canonical(&fresh.observed, &rendered),
    );
    assert_eq!(
        state.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "what exists in the end"
    );
    for (identity, value) in &expected {
        assert_eq!(&state[identity], value, "{identity} in the end");
    }
    for service in &world.observed.services {
        assert_eq!(service.spec.paused, None, "nothing stays paused");
    }
    !rendered.is_empty()
}

/// Returns in how many lives values named another service.
#[expect(
    clippy::print_stdout,
    reason = "the story of a life that failed, shown with the failure"
)]
fn check(seeds: impl Iterator<Item = u64>) -> u64 {
    let mut rendered = 0;
    for seed in seeds {
        let mut world = None;
        match catch_unwind(AssertUnwindSafe(|| live(seed, &mut world))) {
            Ok(named) => rendered += u64::from(named),
            Err(cause) => {
                for line in world.iter().flat_map(|world| &world.story) {
                    println!("{line}");
                }
                println!("seed {seed}; only this one: RANDOM_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    rendered
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "seed and number come from the person who runs the test"
)]
fn random_lives_end_where_the_final_spec_leads() {
    if let Ok(seed) = std::env::var("RANDOM_SEED") {
        check(std::iter::once(seed.parse().unwrap()));
        return;
    }
    let lives = std::env::var("RANDOM_LIVES").map_or(LIVES, |lives| lives.parse().unwrap());
    let halves: Vec<_> = [0, 1]
        .map(|half| std::thread::spawn(move || check((half..lives).step_by(2))))
        .into_iter()
        .collect();
    let rendered: u64 = halves.into_iter().map(|half| half.join().unwrap()).sum();
    assert!(
        lives < 1_000 || rendered > lives / 100,
        "only {rendered} of {lives} lives end with values that name another service"
    );
}
