//! The random numbers of one worker: for balancing and for the names of traces, not for secrets.

use std::cell::Cell;

use http1::TraceSeed;

/// xoshiro256++ (Blackman, Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021).
#[derive(Debug)]
pub(crate) struct Random {
    state: Cell<[u64; 4]>,
}

impl Random {
    /// Seeded by the kernel.
    pub(crate) fn seeded() -> Self {
        let mut seed = [0; 32];
        let flags = rustix::rand::GetRandomFlags::empty();
        // Up to 256 bytes come whole, once the kernel has gathered any randomness at all.
        let filled = rustix::rand::getrandom(&mut seed, flags).unwrap_or(0);
        debug_assert_eq!(filled, seed.len());
        let words = seed.as_chunks::<8>().0;
        let mut state = [0, 1, 2, 3].map(|at| u64::from_ne_bytes(words[at]));
        state[3] |= 1;
        Self {
            state: Cell::new(state),
        }
    }

    /// 64 bits.
    pub(crate) fn next(&self) -> u64 {
        let mut s = self.state.get();
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        self.state.set(s);
        out
    }

    /// What a trace is begun with.
    pub(crate) fn trace_seed(&self) -> TraceSeed {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&self.next().to_ne_bytes());
        trace_id[8..].copy_from_slice(&self.next().to_ne_bytes());
        TraceSeed {
            trace_id,
            span_id: self.next().to_ne_bytes(),
        }
    }
}
