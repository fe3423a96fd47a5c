//! What holds for any bytes that the store reads, tried with mutated seeds.

#[path = "../../../fuzz/src/smoke.rs"]
pub mod smoke;

#[test]
fn claims_hold_for_mutated_seeds() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/resp");
    smoke::smoke(seeds.as_ref(), 20_000, coins::fuzz_resp);
}
