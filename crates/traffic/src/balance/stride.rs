//! Shares by weight: exactly, or on the average.

/// A round robin by weight whose only state is a counter, which may be an atomic one (gRPC proposal
/// A58, "static stride scheduler"). Each place gets its share within every 65,535 rounds, and the calls
/// to one place are spread over them.
#[derive(Debug, Clone)]
pub struct Stride {
    /// The heaviest has `u16::MAX`; none has less than one.
    weights: Vec<u16>,
}

impl Stride {
    /// Places with these weights; one of zero counts as the least there is.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let most = u64::from(weights.iter().copied().max().unwrap_or(0).max(1));
        let scaled = |&weight: &u32| {
            let share = u64::from(weight) * u64::from(u16::MAX) / most;
            u16::try_from(share).unwrap_or(u16::MAX).max(1)
        };
        Self {
            weights: weights.iter().map(scaled).collect(),
        }
    }

    /// The next place; `turn` counts turns, and wraps.
    pub fn next(&self, mut turn: impl FnMut() -> u32) -> Option<usize> {
        let count = u64::try_from(self.weights.len())
            .ok()
            .filter(|&count| count > 0)?;
        loop {
            let turn = u64::from(turn());
            let (place, round) = ((turn % count) as usize, turn / count);
            let weight = u64::from(self.weights[place]);
            // Half a cycle apart from each other, so that not all are skipped in the same round.
            let offset = place as u64 * u64::from(u16::MAX / 2);
            let most = u64::from(u16::MAX);
            if (weight * round + offset) % most >= most - weight {
                return Some(place);
            }
        }
    }
}

/// A choice by weight without memory.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// The sum of the weights up to and with each place.
    sums: Vec<u64>,
}

impl Weighted {
    /// Places with these weights.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let mut sum = 0;
        let sums = weights.iter().map(|&weight| {
            sum += u64::from(weight);
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// A place, by 64 random bits; none if no place has any weight.
    #[must_use]
    pub fn pick(&self, random: u64) -> Option<usize> {
        let sum = *self.sums.last().filter(|&&sum| sum > 0)?;
        let at = ((u128::from(random) * u128::from(sum)) >> 64) as u64;
        Some(self.sums.partition_point(|&below| below <= at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Random;
    use super::*;

    #[test]
    fn every_weight_gets_its_share() {
        let weights = [1, 2, 5, 10, 0, 82];
        let stride = Stride::new(&weights);
        let (mut turn, mut counts) = (0_u32, [0_u32; 6]);
        for _ in 0..100_000 {
            let place = stride.next(|| {
                turn += 1;
                turn
            });
            counts[place.unwrap()] += 1;
        }
        let worst = (0..6).map(|place| {
            let share = f64::from(weights[place]) * 1000.0;
            (f64::from(counts[place]) - share).abs() / 100_000.0
        });
        let worst = worst.fold(0.0, f64::max);
        eprintln!(
            "weighted round robin: {counts:?}, off by {:.4} % at most",
            worst * 100.0
        );
        assert!(worst < 0.001, "{worst}");
    }

    #[test]
    fn equal_weights_take_turns() {
        let stride = Stride::new(&[3, 3, 3]);
        let mut turn = 0;
        let places: Vec<_> = (0..300)
            .filter_map(|_| {
                stride.next(|| {
                    turn += 1;
                    turn
                })
            })
            .collect();
        for round in places.chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2]);
        }
        assert_eq!(Stride::new(&[]).next(|| 0), None);
    }

    #[test]
    fn chance_gives_shares_on_the_average() {
        let weights = [1, 0, 3, 6];
        let weighted = Weighted::new(&weights);
        let (mut random, mut counts) = (Random(9), [0; 4]);
        for _ in 0..100_000 {
            counts[weighted.pick(random.next()).unwrap()] += 1;
        }
        eprintln!("weighted random: {counts:?} of 100000");
        for (count, weight) in counts.iter().zip(weights) {
            let share = i64::from(weight) * 10_000;
            assert!((i64::from(*count) - share).abs() < 600, "{counts:?}");
        }
        assert_eq!(Weighted::new(&[0, 0]).pick(5), None);
    }
}
