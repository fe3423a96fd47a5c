//! Policies by which a call finds its endpoint, each a pure struct: what it knows are numbers, and it
//! answers a place among the candidates. What it is good for is shown as a number by its test.
//!
//! | Policy | Good for |
//! |---|---|
//! | [`two_choices`] by [`PeakEwma`] | the default: avoids who is slow or busy, with two looks |
//! | [`least`] | few endpoints, calls of very different lengths |
//! | [`Stride`] | exact shares by weight |
//! | [`Weighted`] | shares by weight, without memory |
//! | [`Ring`], [`Maglev`] | the same key to the same endpoint, few keys moved by a change |

mod hash;
mod latency;
mod maglev;
mod ring;
#[cfg(test)]
mod simulation;
mod stride;

pub use hash::hash;
pub use latency::PeakEwma;
pub use maglev::Maglev;
pub use ring::Ring;
pub use stride::{Stride, Weighted};

/// The cheaper of two places below `count`, chosen by 64 random bits (Mitzenmacher, "The Power of Two
/// Choices in Randomized Load Balancing", 2001), and the other one.
pub fn two_choices<C: PartialOrd>(
    count: usize,
    random: u64,
    cost: impl Fn(usize) -> C,
) -> Option<[usize; 2]> {
    let [a, b] = two_of(count, random)?;
    Some(if cost(b) < cost(a) { [b, a] } else { [a, b] })
}

/// The cheapest place below `count`; among equals the first behind a random one.
pub fn least<C: PartialOrd>(count: usize, random: u64, cost: impl Fn(usize) -> C) -> Option<usize> {
    let begin = scaled(random >> 32, count);
    let mut places = (begin..count)
        .chain(0..begin)
        .map(|place| (place, cost(place)));
    let first = places.next()?;
    let best = places.fold(
        first,
        |best, next| if next.1 < best.1 { next } else { best },
    );
    Some(best.0)
}

/// Two different places below `count`; the same twice when there is one.
fn two_of(count: usize, random: u64) -> Option<[usize; 2]> {
    match count {
        0 => None,
        1 => Some([0, 0]),
        _ => {
            let first = scaled(random >> 32, count);
            let second = scaled(random & 0xffff_ffff, count - 1);
            Some([first, if second >= first { second + 1 } else { second }])
        }
    }
}

/// 32 random bits as a number below another.
fn scaled(bits: u64, below: usize) -> usize {
    ((bits * below as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::simulation::Random;
    use super::*;

    #[test]
    fn two_choices_are_different_places_and_reach_all() {
        let mut random = Random(1);
        for count in 2..20 {
            let mut seen = vec![false; count];
            for _ in 0..2000 {
                let [a, b] = two_of(count, random.next()).unwrap();
                assert!(a != b && a < count && b < count);
                seen[a] = true;
                seen[b] = true;
            }
            assert!(seen.iter().all(|&seen| seen), "{count}");
        }
    }

    #[test]
    fn the_least_is_found_and_equals_share() {
        let mut random = Random(3);
        assert_eq!(least(0, 1, |place| place), None);
        assert_eq!(
            least(4, random.next(), |place| [5, 2, 9, 3][place]),
            Some(1)
        );
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[least(4, random.next(), |_| 0).unwrap()] += 1;
        }
        eprintln!("least among equals: {counts:?} of 4000");
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }
}
