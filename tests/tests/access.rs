//! Who is let in: tokens and TLS between goproxy and forwarder, and bounds on what a stranger may do.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io::Write as _};

use tests::{
    capture::{Account, Forwarder, Goproxy},
    peer,
};

const ONE: Account = Account { seen: 1, stored: 1, filtered: 0, dropped: 0, in_flight: 0 };

#[test]
fn a_proxy_without_the_token_is_not_heard_and_its_clients_do_not_notice() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[("FORWARDER_TOKEN", "open sesame")]);
    for wrong in [[].as_slice(), &[("FORWARDER_TOKEN", "open barley")]] {
        let mut proxy = Goproxy::start("stranger", origin, forwarder.port, wrong);
        proxy.daemon.announce("no forwarder").announce("was not there");
        assert!(peer::get(proxy.port, "/").ends_with("ok"));
        proxy.daemon.wait_for_line("FORWARDER_TOKEN is needed, and must be the same on both sides");
    }
    assert_eq!(forwarder.account("stranger"), Account::default());
    let proxy = Goproxy::start("friend", origin, forwarder.port, &[("FORWARDER_TOKEN", "open sesame")]);
    assert!(peer::get(proxy.port, "/").ends_with("ok"));
    assert_eq!(forwarder.settled("friend", 1), ONE);
    let logs = [proxy.daemon.lines(), forwarder.daemon.as_ref().unwrap().lines()].concat().join("\n");
    assert!(!logs.contains("sesame"), "{logs}");
}

#[test]
fn over_tls_a_proxy_trusts_only_the_authority_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (file("cert", &own.cert.pem()), file("key", &own.signing_key.serialize_pem()));
    let wrong = file("wrong", &other.cert.pem());
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[("FORWARDER_TLS_CERT", &certificate), ("FORWARDER_TLS_KEY", &key)]);

    let proxy = Goproxy::start("tls", origin, forwarder.port, &[("FORWARDER_TLS_CA", &certificate)]);
    assert!(peer::get(proxy.port, "/").ends_with("ok"));
    assert_eq!(forwarder.settled("tls", 1), ONE);

    for distrustful in [[("FORWARDER_TLS_CA", wrong.as_str())].as_slice(), &[]] {
        let mut proxy = Goproxy::start("plain", origin, forwarder.port, distrustful);
        proxy.daemon.announce("no forwarder").announce("was not there");
        assert!(peer::get(proxy.port, "/").ends_with("ok"));
        proxy.daemon.wait_for_line("no forwarder");
    }
    assert_eq!(forwarder.account("plain"), Account::default());
}

#[test]
fn strangers_on_the_grpc_port_harm_nobody() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[]);
    let mut strangers = Vec::new();
    for number in 0..200u8 {
        let mut stranger = peer::connect(forwarder.port);
        stranger.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stranger.write_all(&[number; 512]).ok();
        strangers.push(stranger);
    }
    let proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    assert!(peer::get(proxy.port, "/").ends_with("ok"));
    assert_eq!(forwarder.settled("p", 1), ONE);
}
