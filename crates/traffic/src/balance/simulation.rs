//! What policies are good for, as numbers: each test plays calls against endpoints and prints them.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use model::Moment;

use super::{Maglev, PeakEwma, Ring, hash, least, two_choices};

/// SplitMix64 (Steele, Lea, Flood 2014): enough for a test.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::hash::mix(self.0)
    }

    /// Above 0, up to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }
}

/// An endpoint that answers one call after another.
struct Server {
    /// How long a call takes it on the average, in microseconds.
    service: f64,
    free_at: f64,
    in_flight: Cell<u32>,
    ewma: PeakEwma,
}

/// 20 endpoints, the first of which takes 20 times as long, under 60 % of what the others can do.
/// Returns the 50th, 99th and 99.9th percentile of what calls took, in milliseconds.
fn play(pick: impl Fn(&[Server], u64, Moment) -> usize) -> [f64; 3] {
    const MILLIS: f64 = 1000.0;
    let server = |place| Server {
        service: if place == 0 { 20.0 * MILLIS } else { MILLIS },
        free_at: 0.0,
        in_flight: Cell::new(0),
        ewma: PeakEwma::default(),
    };
    let mut servers: Vec<_> = (0..20).map(server).collect();
    let (mut random, mut now, mut took) = (Random(11), 0.0, Vec::new());
    let mut ends: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
    let at = |micros: f64| Moment::from_zero(Duration::from_nanos((micros * 1000.0) as u64));
    for _ in 0..200_000 {
        now += -random.unit().ln() * MILLIS / (19.0 * 0.6);
        while let Some(&Reverse((end, place, begin))) = ends.peek() {
            if end as f64 > now {
                break;
            }
            ends.pop();
            let server = &servers[place];
            server.in_flight.set(server.in_flight.get() - 1);
            server
                .ewma
                .observe(Duration::from_micros(end - begin), at(end as f64));
        }
        let place = pick(&servers, random.next(), at(now));
        let server = &mut servers[place];
        let work = -random.unit().ln() * server.service;
        server.free_at = server.free_at.max(now) + work;
        server.in_flight.set(server.in_flight.get() + 1);
        took.push((server.free_at - now) / MILLIS);
        ends.push(Reverse((server.free_at as u64 + 1, place, now as u64)));
    }
    took.sort_by(f64::total_cmp);
    [0.5, 0.99, 0.999].map(|share| took[(took.len() as f64 * share) as usize])
}

#[test]
fn one_slow_endpoint_is_felt_least_by_peak_ewma() {
    let by_ewma = play(|servers, random, now| {
        let cost = |place: usize| {
            let server: &Server = &servers[place];
            server.ewma.cost(server.in_flight.get(), now)
        };
        two_choices(servers.len(), random, cost).unwrap()[0]
    });
    let in_flight = |servers: &[Server], place: usize| servers[place].in_flight.get();
    let by_two = play(|servers, random, _| {
        two_choices(servers.len(), random, |place| in_flight(servers, place)).unwrap()[0]
    });
    let by_least = play(|servers, random, _| {
        least(servers.len(), random, |place| in_flight(servers, place)).unwrap()
    });
    for (policy, [p50, p99, p999]) in [
        ("p2c, peak EWMA", by_ewma),
        ("p2c, in flight", by_two),
        ("least in flight", by_least),
    ] {
        eprintln!("{policy:16} p50 {p50:6.2} ms, p99 {p99:6.2} ms, p99.9 {p999:6.2} ms");
    }
    assert!(by_ewma[2] < by_two[2] / 4.0, "{by_ewma:?} {by_two:?}");
    assert!(by_ewma[2] < by_least[2] / 2.0, "{by_ewma:?} {by_least:?}");
}

const KEYS: u64 = 100_000;

/// How many keys each place has, and how many of those whose place stays are moved all the same.
fn shares(
    what: &str,
    pick: impl Fn(u64) -> usize,
    without_last: impl Fn(u64) -> usize,
    places: usize,
) -> (f64, f64) {
    let mut counts = vec![0_u64; places];
    let mut moved = 0;
    for key in 0..KEYS {
        let key = hash(&key.to_le_bytes());
        let place = pick(key);
        counts[place] += 1;
        moved += u64::from(place != places - 1 && without_last(key) != place);
    }
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let excess = most * places as f64 / KEYS as f64 - 1.0;
    let moved = moved as f64 / KEYS as f64;
    eprintln!(
        "{what}: the fullest of {places} has {:.1} % more than its share; \
         without one, {:.2} % of the other keys move",
        excess * 100.0,
        moved * 100.0
    );
    (excess, moved)
}

fn names(count: usize) -> Vec<(String, u32)> {
    (0..count)
        .map(|number| (format!("web-{number}"), 1))
        .collect()
}

fn bytes(names: &[(String, u32)]) -> impl Iterator<Item = (&[u8], u32)> {
    names
        .iter()
        .map(|(name, weight)| (name.as_bytes(), *weight))
}

#[test]
fn a_ring_moves_only_the_keys_of_who_has_gone() {
    let names = names(20);
    let (all, fewer) = (Ring::new(bytes(&names)), Ring::new(bytes(&names[..19])));
    let pick = |ring: &Ring, key| ring.pick(key, |_| true).unwrap();
    let (excess, moved) = shares("ring", |k| pick(&all, k), |k| pick(&fewer, k), 20);
    assert!(excess < 0.25 && moved == 0.0);
    // Who does not admit is as good as gone.
    for key in 0..1000 {
        let key = hash(&[key as u8, (key >> 8) as u8]);
        assert_eq!(
            all.pick(key, |place| place != 19),
            fewer.pick(key, |_| true)
        );
    }
    assert_eq!(all.pick(7, |_| false), None);
}

#[test]
fn maglev_shares_evenly_and_moves_few_others() {
    let names = names(20);
    let (all, fewer) = (Maglev::new(bytes(&names)), Maglev::new(bytes(&names[..19])));
    let pick = |table: &Maglev, key| table.pick(key, |_| true).unwrap();
    let (excess, moved) = shares("maglev", |k| pick(&all, k), |k| pick(&fewer, k), 20);
    assert!(excess < 0.05 && moved < 0.03);
    assert_eq!(all.pick(7, |place| place == 3), Some(3));
    assert_eq!(all.pick(7, |_| false), None);
    assert_eq!(Maglev::new([]).pick(7, |_| true), None);
}

#[test]
fn weights_count_on_ring_and_table() {
    let mut names = names(3);
    names[1].1 = 3;
    let (ring, table) = (Ring::new(bytes(&names)), Maglev::new(bytes(&names)));
    let mut counts = [[0_u32; 3]; 2];
    for key in 0..KEYS {
        let key = hash(&key.to_le_bytes());
        counts[0][ring.pick(key, |_| true).unwrap()] += 1;
        counts[1][table.pick(key, |_| true).unwrap()] += 1;
    }
    eprintln!(
        "weights 1, 3, 1: ring {:?}, maglev {:?}",
        counts[0], counts[1]
    );
    assert!((50_000..70_000).contains(&counts[0][1]), "{counts:?}");
    assert!((59_000..61_000).contains(&counts[1][1]), "{counts:?}");
}
