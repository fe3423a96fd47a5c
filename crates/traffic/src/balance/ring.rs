//! A hash ring (Karger et al., "Consistent Hashing and Random Trees", 1997; the shape is ketama's).

use super::hash::{hash, mix};

/// Points of one unit of weight: more make shares more even, and the ring larger.
const POINTS: u64 = 160;

/// Points on a circle, each of which leads to a place.
#[derive(Debug, Clone)]
pub struct Ring {
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// A ring of places, each with a name that stays its own, and a weight; 1 is the common one.
    #[must_use]
    pub fn new<'n>(places: impl IntoIterator<Item = (&'n [u8], u32)>) -> Self {
        let mut points = Vec::new();
        for (place, (name, weight)) in (0..).zip(places) {
            let seed = hash(name);
            let count = POINTS * u64::from(weight);
            points
                .extend((0..count).map(|number| (mix(seed.wrapping_add(mix(number + 1))), place)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The place of a key, by its [`hash`]: the first behind it that admits.
    pub fn pick(&self, key: u64, admits: impl Fn(usize) -> bool) -> Option<usize> {
        let begin = self.points.partition_point(|&(point, _)| point < key);
        let (before, behind) = self.points.split_at(begin);
        let places = behind
            .iter()
            .chain(before)
            .map(|&(_, place)| place as usize);
        let mut last = None;
        for place in places {
            if last != Some(place) && admits(place) {
                return Some(place);
            }
            last = Some(place);
        }
        None
    }
}
