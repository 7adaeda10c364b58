//! A primary and a replica over every kind of Redis that there is: a cluster, one behind sentinels that fails over, and
//! one that wants TLS and a name.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tests::{
    flag::ENVIRONMENT,
    flags::{Follower, Saas, flag, text_flag},
    redis::Redis,
    wait::wait_for,
};

fn serves(relay: &Follower, name: &str, value: &str) {
    let what = format!("{name} to be {value}");
    wait_for(what, || relay.served(name).filter(|served| served.0 == value));
}

fn both(folder: &Path, saas: &Saas, more: &[(&str, &str)]) -> (Follower, Follower) {
    let primary = Follower::start_primary(&folder.join("primary"), saas, more);
    let more = [more, &[("READ_REPLICA", "true")]].concat();
    let replica = Follower::start_replica(&folder.join("replica"), more[0].1, &more);
    serves(&replica, "f1", "false");
    (primary, replica)
}

#[test]
fn a_cluster_is_as_good_as_one() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    let own =
        ["--cluster-enabled", "yes", "--save", "", "--appendonly", "no", "--cluster-node-timeout", "2000"];
    let mut nodes: Vec<Redis> = (0..3)
        .map(|number| Redis::start_with(&folder.path().join(number.to_string()), &own, &["-c"]))
        .collect();
    let addresses: Vec<String> = nodes.iter().map(Redis::address).collect();
    let words = ["--cluster-replicas", "0", "--cluster-yes"];
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(words)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    wait_for("the cluster", || nodes[0].ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok").then_some(()));
    let address = addresses.join(",");
    let (mut primary, mut replica) = both(folder.path(), &saas, &[("REDIS_ADDRESS", &address)]);
    saas.put_flag(&flag("f1", true));
    for number in 0..20 {
        saas.put_flag(&text_flag(&format!("n{number}"), "there"));
    }
    serves(&replica, "f1", "true");
    serves(&replica, "n19", "there");
    assert_eq!(nodes[0].ask(&["GET", &format!("env-{ENVIRONMENT}-feature-config-n3")]).len(), {
        nodes[1].ask(&["GET", &format!("env-{ENVIRONMENT}-feature-config-n3")]).len()
    });
    saas.admin("DELETE", &format!("/admin/environments/{ENVIRONMENT}/flags/n3"), &Value::Null);
    wait_for("n3 to go", || replica.served("n3").is_none().then_some(()));
    assert_eq!(nodes[0].ask(&["EXISTS", &format!("env-{ENVIRONMENT}-feature-config-n3")]), "0");
    for node in &mut nodes {
        node.cut();
    }
    saas.put_flag(&flag("f1", false));
    serves(&replica, "f1", "false");
    // A part of it is away, and comes back with nothing.
    nodes[1].kill();
    saas.put_flag(&flag("f1", true));
    serves(&primary, "f1", "true");
    nodes[1].again();
    saas.put_flag(&text_flag("n1", "again"));
    serves(&replica, "n1", "again");
    serves(&replica, "f1", "true");
    assert_eq!((replica.stop(), primary.stop(), saas.stop()), (0, 0, 0));
}

#[test]
fn sentinels_say_where_it_is_after_a_failover() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    let own = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];
    let mut first = Redis::start_with(&folder.path().join("first"), &own, &[]);
    let port = first.port.to_string();
    let of_first = [&own[..], &["--replicaof", "127.0.0.1", &port]].concat();
    let second = Redis::start_with(&folder.path().join("second"), &of_first, &[]);
    wait_for("the copy", || {
        second.ask(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    let settings = folder.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor flags 127.0.0.1 {port} 1\nsentinel down-after-milliseconds flags 1000\n\
         sentinel failover-timeout flags 5000\n"
    );
    fs::write(&settings, text).unwrap();
    let words = [settings.to_str().unwrap(), "--sentinel"];
    let sentinel = Redis::start_with(&folder.path().join("sentinel"), &words, &[]);
    wait_for("the sentinel to know both", || {
        sentinel.ask(&["SENTINEL", "replicas", "flags"]).contains(&second.port.to_string()).then_some(())
    });
    let address = sentinel.address();
    let more = [("REDIS_ADDRESS", address.as_str()), ("REDIS_MASTER", "flags")];
    let (mut primary, mut replica) = both(folder.path(), &saas, &more);
    saas.put_flag(&flag("f1", true));
    serves(&replica, "f1", "true");
    let newest = replica.served("f1");
    first.kill();
    saas.put_flag(&text_flag("n1", "after"));
    serves(&replica, "n1", "after");
    assert_eq!(replica.served("f1"), newest);
    assert!(second.ask(&["ROLE"]).starts_with("master"));
    assert_eq!((replica.stop(), primary.stop(), saas.stop()), (0, 0, 0));
}

#[test]
fn redis_may_want_certificates_and_a_name() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(path("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    for name in ["redis", "relay"] {
        let key = KeyPair::generate().unwrap();
        let mut told = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // OpenSSL takes one that is called as its authority for its own authority.
        told.distinguished_name.push(DnType::CommonName, name);
        fs::write(path(&format!("{name}.pem")), told.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let (ca, chain, key) = (path("ca.pem"), path("redis.pem"), path("redis.key"));
    let own = ["--save", "", "--tls-ca-cert-file", &ca, "--tls-cert-file", &chain, "--tls-key-file", &key];
    let words = "--user relay on >word ~* &* +@all -flushall --requirepass other";
    let names: Vec<&str> = words.split(' ').collect();
    let ask = ["--tls", "--cacert", &ca, "--cert", &chain, "--key", &key, "--no-auth-warning", "-a", "other"];
    let redis = Redis::start_with(&folder.path().join("redis"), &[&own[..], &names].concat(), &ask);
    let mut saas = Saas::start(folder.path());
    let address = format!("rediss://{}", redis.address());
    let (chain, key) = (path("relay.pem"), path("relay.key"));
    let mut more = vec![
        ("REDIS_ADDRESS", address.as_str()),
        ("REDIS_CA", &ca),
        ("REDIS_CERT", &chain),
        ("REDIS_KEY", &key),
        ("REDIS_USERNAME", "relay"),
        ("REDIS_PASSWORD", "word"),
    ];
    let (mut primary, mut replica) = both(folder.path(), &saas, &more);
    saas.put_flag(&flag("f1", true));
    serves(&replica, "f1", "true");
    assert!(redis.ask(&["CLIENT", "LIST"]).matches("user=relay").count() >= 3);
    // Who shows no certificate, or the wrong password, gets nothing, and the password is not logged.
    more[5].1 = "guess";
    let mut other = Follower::start_replica(
        &folder.path().join("other"),
        &address,
        &[&more[..], &[("READ_REPLICA", "true")]].concat(),
    );
    let told = other.daemon.as_ref().unwrap().wait_for_line("Redis cannot be read");
    assert!(!told.contains("guess") && other.token().is_none(), "{told}");
    assert_eq!((other.stop(), replica.stop(), primary.stop(), saas.stop()), (0, 0, 0, 0));
}
