//! lw_proxy and lw_tcp_proxy before what runs at Amazon: a machine sleeps and wakes, and certificates come from the
//! store of secrets, however rude Amazon is.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::{
    amazon::{Amazon, REGION, machine_is},
    autostop::{Autostop, Target},
    daemon::binary,
    peer,
    rude::{Manner, Rude},
    wait::wait_for,
};

/// The plug-in, as it stands in the configuration.
fn provider_at(amazon: SocketAddr) -> String {
    format!(
        "kind = \"plugin\"\ncommand = [\"{}\"]\n\
         env = {{ AWS_ACCESS_KEY_ID = \"test\", AWS_SECRET_ACCESS_KEY = \"test\" }}\n\
         options = {{ region = \"{REGION}\", endpoint_url = \"http://{amazon}\" }}\n",
        binary("autostop-provider-aws").display(),
    )
}

/// A service that runs on the machine: reached while that is down, it takes note.
fn service_on(amazon: SocketAddr, id: &str) -> (SocketAddr, Arc<AtomicBool>) {
    let (id, crime) = (id.to_owned(), Arc::<AtomicBool>::default());
    let noted = Arc::clone(&crime);
    let address = peer::serve(move |mut stream| {
        if machine_is(amazon, &id) != "running" {
            noted.store(true, SeqCst);
        }
        let mut heard = [0; 5];
        while stream.read_exact(&mut heard).is_ok() && stream.write_all(&heard).is_ok() {}
    });
    (address, crime)
}

fn say_hello(port: u16) {
    let mut stream = peer::connect(port);
    stream.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn lw_proxy_puts_a_machine_to_sleep_and_wakes_it_however_rude_amazon_is() {
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let rude = Rude::before(amazon.address());
    // Until it works, everything fails once in its own way.
    rude.will("DescribeInstances", [Manner::Refuse(503, "RequestLimitExceeded"), Manner::Reset]);
    rude.will("StopInstances", [Manner::Refuse(500, "InternalError"), Manner::Lose]);
    let (service, crime) = service_on(amazon.address(), &id);
    let provider = provider_at(rude.address);
    let rule = format!(
        "idle_time = \"2s\"\nmin_online = \"1s\"\nparams = {{ host = \"127.0.0.1\" }}\n[[tcp.forward_rule]]\nport = {}\n",
        service.port()
    );
    // `rule` comes behind the table of the rule's machine.
    let rule = format!("kind = \"instance\"\n{rule}");
    let autostop = Autostop::before(&[Target { id: id.clone(), provider, rule }]);
    let port = autostop.port("m0");
    autostop.wait_for_state("m0", "down");
    assert_eq!(amazon.machine_is(&id), "stopped");
    assert_eq!((rude.still_rude(), rude.done("StopInstances")), (0, 2));

    // It is still stopping at first; then there are too many calls; then it comes up slowly.
    rude.will(
        "StartInstances",
        [Manner::Refuse(400, "IncorrectInstanceState"), Manner::Refuse(503, "RequestLimitExceeded")],
    );
    rude.will(
        "DescribeInstances",
        [
            Manner::Lag("<name>stopped</name>", "<name>stopping</name>"),
            Manner::Lag("<name>running</name>", "<name>pending</name>"),
        ],
    );
    say_hello(port);
    assert_eq!(amazon.machine_is(&id), "running");
    assert_eq!(rude.done("StartInstances"), 1);
    autostop.wait_for_state("m0", "down");
    wait_for("the machine to be stopped", || (amazon.machine_is(&id) == "stopped").then_some(()));
    say_hello(port);
    assert_eq!(rude.done("StartInstances"), 2);
    assert!(!crime.load(SeqCst), "reached while it was down");
}

/// A certificate for a name, signed by itself, with its key; the certificate is in a file for curl.
fn certificate(folder: &Path, name: &str, number: u32) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let chain = made.cert.pem();
    fs::write(folder.join(format!("{name}-{number}.pem")), &chain).unwrap();
    (chain, made.signing_key.serialize_pem())
}

/// Whether curl believes that it speaks with this name, by this certificate alone.
fn is_served(folder: &Path, port: u16, name: &str, number: u32) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "20", "--cacert"])
        .arg(folder.join(format!("{name}-{number}.pem")));
    curl.args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/")]);
    let output = curl.output().unwrap();
    output.status.success() && output.stdout == b"awake"
}

#[test]
fn certificates_come_from_the_store_and_change_there() {
    let folder = TempDir::new().unwrap();
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let (shop, book) = ("shop.example.com", "book.example.com");
    let (chain, key) = certificate(folder.path(), shop, 1);
    amazon.keep_secret("harness/shop-cert", &chain);
    amazon.keep_secret("harness/shop-key", &key);
    let (chain, key) = certificate(folder.path(), book, 1);
    amazon.keep_secret("harness/book-cert", &chain);
    amazon.keep_secret("harness/book-key", &key);

    // One is named by the configuration, the other by the rule.
    let secrets = |name: &str| {
        format!("cert_secret_id = \"harness/{name}-cert\"\nkey_secret_id = \"harness/{name}-key\"\n")
    };
    let rude = Rude::before(amazon.address());
    let provider = provider_at(rude.address) + "[[certificates]]\nprovider = \"p0\"\n" + &secrets("shop");
    let service = peer::http_service(b"awake");
    let rule = format!(
        "idle_time = \"10m\"\nparams = {{ host = \"127.0.0.1\" }}\ncustom_domains = [\"{shop}\", \"{book}\"]\n\
         [[http.routing]]\nsource_protocol = \"https\"\nsource_port = 443\ntarget_protocol = \"http\"\ntarget_port = {0}\n\
         [[tcp.forward_rule]]\nport = {0}\n[[certificates]]\n{1}",
        service.port(),
        secrets("book")
    );
    let mut autostop = Autostop::before(&[Target { id, provider, rule }]);
    autostop.control.as_mut().unwrap().announce("certificate cannot be had");
    let port = autostop.plane.as_ref().unwrap().port("\"intake\":\"https\"", "addr");
    for name in [shop, book] {
        wait_for(format!("{name} over HTTPS"), || is_served(folder.path(), port, name, 1).then_some(()));
    }
    certificate(folder.path(), "other.example.com", 1);
    assert!(!is_served(folder.path(), port, "other.example.com", 1), "curl believes whatever it is told");

    // Half changed, the two do not belong together, and what was stays.
    let hang_up = |autostop: &Autostop| autostop.control.as_ref().unwrap().signal(Signal::SIGHUP);
    let (chain, key) = certificate(folder.path(), shop, 2);
    amazon.change_secret("harness/shop-cert", &chain);
    hang_up(&autostop);
    autostop.control.as_ref().unwrap().wait_for_line("they do not belong together");
    assert!(is_served(folder.path(), port, shop, 1) && is_served(folder.path(), port, book, 1));
    amazon.change_secret("harness/shop-key", &key);
    hang_up(&autostop);
    wait_for("the new certificate", || is_served(folder.path(), port, shop, 2).then_some(()));
    assert!(!is_served(folder.path(), port, shop, 1) && is_served(folder.path(), port, book, 1));

    // A store that refuses changes nothing, and neither does a restart without one.
    let refusal = Manner::Refuse(400, "AccessDeniedException");
    rude.will("GetSecretValue", vec![refusal; 1000]);
    hang_up(&autostop);
    autostop.control.as_ref().unwrap().wait_for_line("AccessDeniedException");
    autostop.kill_control();
    autostop.start_control();
    autostop.control.as_mut().unwrap().announce("certificate cannot be had");
    autostop.control.as_ref().unwrap().wait_for_line("data plane attached");
    autostop.control.as_ref().unwrap().wait_for_line("certificate cannot be had");
    assert!(is_served(folder.path(), port, shop, 2) && is_served(folder.path(), port, book, 1));
    let kept = autostop.path().join("state/control/certificates");
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    for daemon in [autostop.control.as_ref().unwrap(), autostop.plane.as_ref().unwrap()] {
        assert!(daemon.lines().iter().all(|line| !line.contains("PRIVATE")), "a key is in the log");
    }
}
