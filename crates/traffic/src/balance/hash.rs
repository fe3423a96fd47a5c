//! The hash by which keys are placed: the same on every machine and in every version.

/// FNV-1a (Fowler, Noll, Vo), finished as SplitMix64 is (Steele, Lea, Flood 2014), since FNV leaves the
/// high bits of short keys alike.
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    let fnv = |state: u64, &byte: &u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(key.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Spreads a number over all 64 bits.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_hashes_that_they_always_had() {
        assert_eq!(hash(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(hash(b"a"), mix(0xaf63_dc4c_8601_ec8c));
    }
}
