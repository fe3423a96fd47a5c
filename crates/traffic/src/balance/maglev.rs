//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016,
//! §3.4): shares that are nearly equal, and one look to find a place.

use super::hash::{hash, mix};

/// Slots of the table, a prime far above the number of places.
const SLOTS: usize = 65_537;

/// A table of slots, each of which leads to a place.
#[derive(Debug, Clone)]
pub struct Maglev {
    slots: Vec<u16>,
}

impl Maglev {
    /// A table for places, each with a name that stays its own, and a weight; 65,535 places at most.
    #[must_use]
    pub fn new<'n>(places: impl IntoIterator<Item = (&'n [u8], u32)>) -> Self {
        let mut fillers: Vec<Filler> = (0..u16::MAX)
            .zip(places)
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(place, (name, weight))| Filler::new(place, name, weight))
            .collect();
        let mut slots = vec![u16::MAX; SLOTS];
        let mut left = if fillers.is_empty() { 0 } else { SLOTS };
        let most = fillers
            .iter()
            .map(|filler| filler.weight)
            .max()
            .unwrap_or(1);
        while left > 0 {
            for filler in &mut fillers {
                // The heaviest fills a slot in every round, the others when their turns add up to one.
                filler.credit += filler.weight;
                if left > 0 && filler.credit >= most {
                    filler.credit -= most;
                    let slot = filler.next_free(&slots);
                    slots[slot] = filler.place;
                    left -= 1;
                }
            }
        }
        if fillers.is_empty() {
            slots.clear();
        }
        Self { slots }
    }

    /// The place of a key, by its [`hash`]; if that does not admit, one by another hash of it.
    pub fn pick(&self, key: u64, admits: impl Fn(usize) -> bool) -> Option<usize> {
        const TRIES: usize = 64;
        let slot = |key: u64| self.slots.get((key % SLOTS as u64) as usize);
        let keys = std::iter::successors(Some(key), |&key| Some(mix(key.wrapping_add(1))));
        let hashed = keys
            .take(TRIES)
            .map_while(slot)
            .map(|&place| usize::from(place));
        let mut all = hashed.chain(self.slots.iter().map(|&place| usize::from(place)));
        all.find(|&place| admits(place))
    }
}

/// One place's own order of all slots.
struct Filler {
    place: u16,
    weight: u64,
    credit: u64,
    at: usize,
    skip: usize,
}

impl Filler {
    fn new(place: u16, name: &[u8], weight: u32) -> Self {
        let hash = hash(name);
        Self {
            place,
            weight: u64::from(weight),
            credit: 0,
            at: (hash % SLOTS as u64) as usize,
            skip: (mix(hash) % (SLOTS as u64 - 1)) as usize + 1,
        }
    }

    /// The next slot in its order that nobody has; there is one.
    fn next_free(&mut self, slots: &[u16]) -> usize {
        loop {
            let slot = self.at;
            self.at = (self.at + self.skip) % SLOTS;
            if slots[slot] == u16::MAX {
                return slot;
            }
        }
    }
}
