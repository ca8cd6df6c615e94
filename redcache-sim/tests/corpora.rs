//! Replay of the fuzzing corpora.

use std::fs;
use std::path::Path;

use redcache_sim::fuzz::TARGETS;

#[test]
fn every_corpus_input_and_its_prefixes_are_handled() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            target(&input);
            let step = (input.len() / 16).max(1);
            (0..input.len()).step_by(step).for_each(|end| target(&input[..end]));
        }
    }
}

/// Return pseudorandom bytes.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = next() % 300;
    (0..length).map(|_| (next() >> 24) as u8).collect()
}

#[test]
fn every_target_handles_random_bytes() {
    for (_, target) in TARGETS {
        (0..300).for_each(|seed| target(&noise(seed)));
    }
}
