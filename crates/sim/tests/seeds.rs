//! What the simulator shows: the invariants over many seeds, and that a seed is a whole story.

use sim::{Keep, Tally, run};

const SEEDS: u64 = 200;

#[test]
fn two_hundred_seeds_hold_the_invariants() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        match run(seed, Keep::Last) {
            Ok(finished) => tally = tally.plus(finished.tally),
            Err(failed) => panic!("{failed}"),
        }
    }
    // A simulation in which nothing happens holds any invariant.
    assert!(tally.answered > 10 * SEEDS, "{tally}");
    assert!(
        tally.held > SEEDS && tally.wakes > SEEDS && tally.rests > SEEDS,
        "{tally}"
    );
    assert!(
        tally.faults > 10 * SEEDS && tally.crashed > SEEDS,
        "{tally}"
    );
}

#[test]
fn the_same_seed_gives_the_same_transcript() {
    for seed in [1, 2, 3, 4] {
        let first = run(seed, Keep::Everything).expect("the invariants hold");
        let second = run(seed, Keep::Everything).expect("the invariants hold");
        assert_eq!(first, second);
        assert!(first.transcript.len() > 100);
    }
}

#[test]
fn different_seeds_give_different_stories() {
    let transcript = |seed| {
        run(seed, Keep::Everything)
            .expect("the invariants hold")
            .transcript
    };
    assert_ne!(transcript(1), transcript(2));
}
