//! A moment of fuzzing without a fuzzer: seeds, mutated from a fixed start, so that it always does the same.

use std::path::Path;

/// Runs every seed in the folder `seeds`, and `rounds` mutations of them.
///
/// # Panics
/// If the folder has no readable seeds, or if `run` panics.
pub fn smoke(seeds: &Path, rounds: u32, run: fn(&[u8])) {
    let mut files: Vec<_> = std::fs::read_dir(seeds)
        .expect("the folder of seeds is there")
        .map(|entry| entry.expect("a seed can be listed").path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files
        .iter()
        .map(|file| std::fs::read(file).expect("a seed can be read"))
        .collect();
    assert!(!seeds.is_empty(), "there are seeds");
    seeds.iter().for_each(|seed| run(seed));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut data = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(4) {
            mutate(&mut data, &seeds, &mut dice);
        }
        run(&data);
    }
}

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    const BYTES: &[u8] = b"\r\n\t \0:;,0159afAF+-_/*%[]@#\"\x7f\x80\xff";
    let at = dice.below(data.len() + 1);
    let end = data.len().min(at + dice.below(20));
    match dice.below(7) {
        0 => data.insert(at, BYTES[dice.below(BYTES.len())]),
        1 if at < data.len() => data[at] = BYTES[dice.below(BYTES.len())],
        2 if at < data.len() => data[at] = dice.next() as u8,
        3 if at < data.len() => data[at] ^= 1 << dice.below(8),
        4 => drop(data.drain(at..end)),
        5 => {
            let copy = data[at..end].to_vec();
            let to = dice.below(data.len() + 1);
            data.splice(to..to, copy);
        }
        _ => {
            let other = &seeds[dice.below(seeds.len())];
            data.truncate(at);
            data.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
    }
}

/// xorshift64: enough to shake seeds with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
