//! A primary, two replicas and Redis, cut off from each other again and again: no change is lost, none is told twice,
//! and the changes of a flag keep their order.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::{
    flag::{ENVIRONMENT, KEY},
    flags::{Follower, Saas, ask, text_flag},
    redis::Redis,
    wait::wait_within,
};

/// Rounds of the short slice that runs with the ordinary tests.
const SLICE: usize = 12;
const FLAGS: usize = 40;
/// A primary that is killed leaves its lease behind, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The last version of each flag.
type Versions = HashMap<String, u64>;

/// A stream, as a server SDK has one.
struct Heard {
    /// What was served when it began.
    before: Versions,
    /// What it was told.
    told: Arc<Mutex<Versions>>,
}

/// What is served: values and versions by flag.
fn served(relay: &Follower, token: &str) -> HashMap<String, (Value, u64)> {
    let url = format!("{}/client/env/{ENVIRONMENT}/feature-configs", relay.url());
    let (code, told) = ask("GET", &url, Some(token), &Value::Null);
    assert_eq!(code, 200, "nobody loses the key");
    let flag = |flag: &Value| {
        let version = flag["version"].as_u64().unwrap();
        (flag["feature"].as_str().unwrap().to_owned(), (flag["variations"][0]["value"].clone(), version))
    };
    told.as_array().unwrap().iter().map(flag).collect()
}

/// Listens as a server SDK does; what comes twice or out of order panics, and is seen by whoever looks for the flag.
fn listen(relay: &Follower) -> Heard {
    let token = relay.token().expect("the key opens it");
    let before = served(relay, &token).into_iter().map(|(name, (_, version))| (name, version)).collect();
    let told = Arc::new(Mutex::new(Versions::new()));
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
    let head = format!("GET /stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAPI-Key: {KEY}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    lines.find(|line| line == ":").expect("the first words");
    let own = Arc::clone(&told);
    thread::spawn(move || {
        for line in lines {
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data).unwrap();
            let (flag, version) = (event["identifier"].as_str().unwrap(), event["version"].as_u64().unwrap());
            let mut heard = own.lock().unwrap();
            let last = heard.insert(flag.to_owned(), version);
            assert!(last.is_none_or(|last| last < version), "{flag}: {version} after {last:?}");
        }
    });
    Heard { before, told }
}

struct House {
    saas: Saas,
    redis: Redis,
    primary: Follower,
    replicas: Vec<(Follower, Heard)>,
    values: HashMap<String, String>,
    /// The version that was served last, of each flag by each replica.
    versions: Vec<Versions>,
    dice: fastrand::Rng,
    number: u64,
}

impl House {
    fn new(folder: &TempDir, seed: u64) -> Self {
        let saas = Saas::start(folder.path());
        // It keeps a copy only when it is asked to, so that it comes back older, or with nothing.
        let redis =
            Redis::start_with(&folder.path().join("redis"), &["--save", "", "--dbfilename", "copy"], &[]);
        let address = redis.address();
        let more = [("REDIS_ADDRESS", address.as_str())];
        let primary = Follower::start_primary(&folder.path().join("primary"), &saas, &more);
        let replicas = ["one", "two"].map(|name| {
            let relay = Follower::start_replica(&folder.path().join(name), &address, &[]);
            wait_within(PATIENCE, "the first flags", || relay.served("f1"));
            let heard = listen(&relay);
            (relay, heard)
        });
        let mut house = Self {
            saas,
            redis,
            primary,
            replicas: replicas.into(),
            values: HashMap::new(),
            versions: vec![HashMap::new(); 2],
            dice: fastrand::Rng::with_seed(seed),
            number: 0,
        };
        house.announce();
        house
    }

    fn announce(&mut self) {
        for (relay, _) in &mut self.replicas {
            relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
        }
    }

    /// Changes a flag.
    fn change(&mut self) {
        self.number += 1;
        let (name, value) = (format!("n{}", self.dice.usize(..FLAGS)), self.number.to_string());
        self.saas.put_flag(&text_flag(&name, &value));
        self.values.insert(name, value);
    }

    fn disturb(&mut self) -> &'static str {
        match self.dice.u32(..100) {
            0..55 => {
                self.redis.cut();
                "every connection to Redis"
            }
            55..65 => {
                self.redis.kill();
                self.change();
                self.redis.again();
                "Redis, which is empty"
            }
            65..73 => {
                self.redis.ask(&["SAVE"]);
                self.change();
                self.redis.kill();
                self.change();
                self.redis.again();
                "Redis, which is older"
            }
            73..77 => {
                self.primary.daemon.take().unwrap().kill();
                self.change();
                self.primary.again();
                "the primary"
            }
            77..89 => {
                let at = self.dice.usize(..2);
                self.replicas[at].0.daemon.take().unwrap().kill();
                self.change();
                self.replicas[at].0.again();
                self.announce();
                self.versions[at].clear();
                let relay = &self.replicas[at].0;
                wait_within(PATIENCE, "the key", || relay.token());
                self.replicas[at].1 = listen(&self.replicas[at].0);
                "a replica"
            }
            89..94 => {
                self.redis.freeze(true);
                self.change();
                self.redis.freeze(false);
                "Redis, for a moment"
            }
            _ => {
                let at = self.dice.usize(..2);
                self.replicas[at].0.daemon.as_ref().unwrap().signal(Signal::SIGSTOP);
                self.redis.cut();
                for _ in 0..5 {
                    self.change();
                }
                self.replicas[at].0.daemon.as_ref().unwrap().signal(Signal::SIGCONT);
                "a replica, for a moment"
            }
        }
    }

    /// Waits until everybody serves what was written, and has told it.
    fn settle(&mut self, what: &str) {
        for (at, (relay, heard)) in self.replicas.iter().enumerate() {
            let token = relay.token().expect("nobody loses the key");
            let versions = &mut self.versions[at];
            let found =
                wait_within(PATIENCE, format!("replica {at} to serve everything after {what}"), || {
                    let now = served(relay, &token);
                    for (name, (_, version)) in &now {
                        let last = versions.insert(name.clone(), *version);
                        assert!(
                            last.is_none_or(|last| last <= *version),
                            "{name} went back from {last:?} to {version}"
                        );
                    }
                    let is_there = |(name, value): (&String, &String)| {
                        now.get(name).is_some_and(|(told, _)| told.as_str() == Some(value))
                    };
                    self.values.iter().all(is_there).then_some(now)
                });
            wait_within(PATIENCE, format!("replica {at} to tell everything after {what}"), || {
                let told = heard.told.lock().expect("what comes twice or out of order panics");
                let is_told = |(name, (_, version)): (&String, &(Value, u64))| {
                    told.get(name).or_else(|| heard.before.get(name)) == Some(version)
                };
                found.iter().all(is_told).then_some(())
            });
        }
    }
}

#[test]
fn disconnected_again_and_again() {
    let rounds = env::var("WAYSIDE_SOAK").map_or(SLICE, |told| told.parse().unwrap());
    let seed = env::var("WAYSIDE_SEED").map_or_else(|_| fastrand::u64(..), |told| told.parse().unwrap());
    println!("WAYSIDE_SEED={seed}");
    let folder = TempDir::new().unwrap();
    let mut house = House::new(&folder, seed);
    // Every flag is there and was told once, so that every later change is one that streams must hear.
    for number in 0..FLAGS {
        let (name, value) = (format!("n{number}"), "0".to_owned());
        house.saas.put_flag(&text_flag(&name, &value));
        house.values.insert(name, value);
    }
    house.settle("the start");
    for round in 1..=rounds {
        house.change();
        let what = house.disturb();
        house.change();
        house.settle(&format!("{what} was cut off in round {round} of seed {seed}"));
    }
    for (relay, _) in &mut house.replicas {
        assert_eq!(relay.stop(), 0);
    }
    assert_eq!((house.primary.stop(), house.saas.stop()), (0, 0));
}
