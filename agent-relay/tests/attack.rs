//! The small corpus of the fuzzers, replayed, and what becomes of it by chance.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says its seed"
)]

use std::{env, fs, path::Path, time::Duration, time::Instant};

#[test]
fn what_is_read_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "relay", agent_relay::attack::relay);
}

/// One change by chance, of the kinds that fuzzers make.
fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    match random.u8(..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
        1 if at < bytes.len() => bytes[at] = *random.choice(&[0, 1, 7, 0x7f, 0x80, 0xff]).unwrap(),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, (0..random.usize(1..9)).map(|_| random.u8(..)))),
        4 if at < bytes.len() => drop(bytes.drain(at..bytes.len().min(at + random.usize(1..9)))),
        _ => {
            let other = &others[random.usize(..others.len())];
            let from = random.usize(..=other.len());
            bytes.splice(at..at, other[from..other.len().min(from + 120)].iter().copied());
        }
    }
}

/// `WAYSIDE_SOAK` asks for so many seconds, and `WAYSIDE_SEED` for the same once more; the ordinary run is a short one.
#[test]
fn what_becomes_of_the_corpus_by_chance_is_stood_as_well() {
    let number = |name: &str| env::var(name).ok().and_then(|told| told.parse::<u64>().ok());
    let seed = number("WAYSIDE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/relay");
    let corpus: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    let until = number("WAYSIDE_SOAK").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rounds = 0_u64;
    while until.map_or(rounds < 2_000, |until| Instant::now() < until) {
        let mut bytes = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.u32(1..8) {
            change(&mut bytes, &corpus, &mut random);
        }
        agent_relay::attack::relay(&bytes);
        rounds += 1;
    }
    println!("{rounds} rounds");
}
