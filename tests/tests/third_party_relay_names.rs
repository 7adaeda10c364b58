//! agent-relay follows the name of its upstream as dnsmasq tells it: changed, with lies, and not at all.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tests::{
    peer::listen,
    relay::{Balance, Receiver, Relay, post},
    wait::wait_for,
};

const NAME: &str = "backend.wayside.test";

/// dnsmasq, which is told again and again to say something else.
struct Names {
    folder: TempDir,
    port: u16,
    running: Option<Child>,
    lives: u32,
}

impl Names {
    fn new() -> Self {
        // Free for both of its protocols, as far as can be told.
        let port = listen().1.port();
        Self { folder: TempDir::new().unwrap(), port, running: None, lives: 0 }
    }

    /// Nobody answers from now on.
    fn vanish(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Answers what these words of its command line say.
    fn say(&mut self, words: &[&str]) {
        self.vanish();
        self.lives += 1;
        let log = File::create(self.log()).unwrap();
        let mut command = Command::new("dnsmasq");
        command.args([
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.args(["--listen-address=127.0.0.1", "--log-queries", "--log-facility=-", "--user=root"]);
        command
            .args(["--pid-file=", "--local=/wayside.test/"])
            .arg(format!("--port={}", self.port))
            .args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut start = || Some(command.spawn().unwrap());
        self.running = start();
        wait_for("dnsmasq to listen", || {
            // Somebody else may have its port for a moment while it is away.
            if self.running.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                self.running = start();
            }
            self.told().contains("started").then_some(())
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("log-{}", self.lives))
    }

    fn told(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    /// Posts until the relay has asked for the name since it says this.
    fn wait_until_asked(&self, mut post: impl FnMut()) {
        wait_for("the name to be asked for", || {
            post();
            self.told().contains(&format!("query[A] {NAME}")).then_some(())
        });
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.vanish();
    }
}

fn record(ip: &str) -> String {
    format!("--host-record={NAME},{ip},1")
}

#[test]
fn a_name_is_followed_by_its_own_time_and_the_last_good_answer_outlives_lies_and_silence() {
    let folder = TempDir::new().unwrap();
    let first = Receiver::start();
    let second = first.beside([127, 0, 0, 2]);
    let mut names = Names::new();
    names.say(&[&record("127.0.0.1")]);
    let file = folder.path().join("relay.toml");
    let server = format!("127.0.0.1:{}", names.port);
    fs::write(&file, format!("dd_url = [\"http://{NAME}:{}\"]\n", first.address.port())).unwrap();
    let more = [("API_KEY", "own"), ("DNS_SERVERS", server.as_str())];
    let mut relay = Relay::start_with(&folder.path().join("data"), None, &more, Some(&file));
    let log = relay.daemon.as_mut().unwrap();
    log.announce("a name cannot be resolved now").announce("an upstream is down");
    let port = relay.port;
    let mut sent = 0;
    let mut send = || {
        sent += 1;
        assert_eq!(post(port, "k", &format!("agent {sent}")), Some(200));
    };
    let count = |receiver: &Receiver| receiver.bodies().len();

    send();
    wait_for("the first to get it", || (count(&first) == 1).then_some(()));
    names.say(&[&record("127.0.0.2")]);
    wait_for("the second to get some", || {
        send();
        (count(&second) > 0).then_some(())
    });
    relay.drained();
    let of_first = count(&first);

    // There is no such name; there is, but it leads nowhere; it is nobody's; and nobody answers.
    let txt = format!("--txt-record={NAME},x");
    for lie in [vec![], vec![txt.as_str()], vec![&record("0.0.0.0")]] {
        names.say(&lie);
        names.wait_until_asked(&mut send);
        let before = count(&second);
        send();
        wait_for("the second to get it", || (count(&second) > before).then_some(()));
    }
    relay.daemon.as_ref().unwrap().wait_for_line("its last addresses are kept");
    names.vanish();
    // Longer than an answer lasts and a question takes, in posts that each wait for their delivery.
    for _ in 0..100 {
        let before = count(&second);
        send();
        wait_for("the second to get it", || (count(&second) > before).then_some(()));
    }
    relay.drained();
    assert_eq!(count(&first), of_first, "its connections were let go, and it got nothing more");

    // Where nobody is, everything waits, and nothing is lost.
    names.say(&[&record("240.0.0.1")]);
    names.wait_until_asked(&mut send);
    // More than what is just on its way.
    wait_for("much to wait", || {
        send();
        (relay.balance().queued > 10).then_some(())
    });
    names.say(&[&record("127.0.0.1")]);
    wait_for("the first to get some again", || {
        send();
        (count(&first) > of_first).then_some(())
    });
    let balance = relay.drained();
    assert_eq!(balance, Balance { accepted: sent, delivered: sent, queued: 0, dead_lettered: 0 });
    let mut came: Vec<u64> =
        [first.firsts(), second.firsts()].iter().flat_map(|all| all["agent"].clone()).collect();
    came.sort_unstable();
    came.dedup();
    assert_eq!(came, (1..=sent).collect::<Vec<_>>());
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
}
