//! Real things put to sleep, and woken by clients that nobody here wrote: a container by curl, a database by psql,
//! a machine's sshd by ssh, a WebSocket server by node's HTTP/2.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use tests::{
    autostop::{Autostop, Target, by_scripts, script},
    peer,
    program::{init_postgres, of_postgres, run},
    wait::wait_for,
};

const QUICK: &str = "idle_time = \"2s\"\nmin_online = \"1s\"\n";

/// A static program for a container of nothing else: waits, and then serves a short page on port 8080.
const SERVICE: &str = r#"
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    // Sleeps: as a machine does before it is up.
    sleep(1);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in all = { .sin_family = AF_INET, .sin_port = htons(8080) };
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bind(listener, (struct sockaddr *)&all, sizeof all);
    listen(listener, 64);
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nawake\n";
    for (;;) {
        char asked[4096];
        int client = accept(listener, 0, 0);
        if (read(client, asked, sizeof asked) > 0) write(client, answer, strlen(answer));
        close(client);
    }
}
"#;

/// A container that goes with the test.
struct Container(String);

impl Container {
    fn create() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("service.c"), SERVICE).unwrap();
        let inside = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(folder.path());
            command
        };
        run(inside("musl-gcc").args(["-static", "-o", "service", "service.c"]));
        run(inside("tar").args(["-cf", "image.tar", "service"]));
        let name = format!("wayside-autostop-{}", std::process::id());
        run(inside("docker").args(["import", "image.tar", &name]));
        run(Command::new("docker").args(["create", "--name", &name, &name, "/service"]));
        Self(name)
    }

    fn is_running(&self) -> bool {
        run(Command::new("docker").args(["inspect", "-f", "{{.State.Running}}", &self.0])).trim() == "true"
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        Command::new("docker").args(["rm", "-f", &self.0]).output().ok();
        Command::new("docker").args(["rmi", "-f", &self.0]).output().ok();
    }
}

#[test]
fn a_container_sleeps_until_curl_comes() {
    let container = Container::create();
    let rule = format!("{QUICK}[[tcp.forward_rule]]\nport = 8080\n");
    let target = Target { id: container.0.clone(), provider: "kind = \"docker\"\n".to_owned(), rule };
    let autostop = Autostop::before(&[target]);
    autostop.wait_for_state("m0", "down");
    let url = format!("http://127.0.0.1:{}/", autostop.port("m0"));
    for _ in 0..2 {
        assert!(!container.is_running());
        assert_eq!(run(Command::new("curl").args(["-s", "-m", "60", &url])), "awake\n");
        assert!(container.is_running());
        autostop.wait_for_state("m0", "down");
    }
}

#[test]
fn a_database_sleeps_until_psql_comes_and_stays_for_a_transaction() {
    let folder = TempDir::new().unwrap();
    init_postgres(folder.path());
    let (listener, address) = peer::listen();
    drop(listener);
    let tool = |arguments: &str| {
        let program = of_postgres(folder.path(), "pg_ctl");
        let words: Vec<_> = program.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("setpriv {} -D data {arguments}", words.join(" "))
    };
    let options = format!("-h 127.0.0.1 -p {} -k ''", address.port());
    script(folder.path(), "start", &tool(&format!("-W -l log -o \"{options}\" start >/dev/null")));
    script(folder.path(), "stop", &tool("-W -m fast stop >/dev/null"));
    script(
        folder.path(),
        "status",
        &format!("{} >/dev/null && echo running || echo stopped", tool("status")),
    );
    let rule = format!("{QUICK}[[tcp.forward_rule]]\nport = {}\nprotocol = \"postgres\"\n", address.port());
    let autostop =
        Autostop::before(&[Target { id: "m".to_owned(), provider: by_scripts(folder.path()), rule }]);
    autostop.wait_for_state("m0", "down");
    let port = autostop.port("m0").to_string();
    let psql = |script: &str| {
        let common = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-qAtX", "-c"];
        run(Command::new("psql").args(common).arg(script))
    };
    assert_eq!(psql("SELECT 6 * 7").trim(), "42");
    autostop.wait_for_state("m0", "down");
    // Nothing passes while it thinks, for longer than the idle time.
    let before = autostop.rule("m0")["since"].clone();
    let slept = psql("BEGIN; SELECT pg_sleep(6); COMMIT; SELECT 'still here'");
    assert!(slept.contains("still here"), "{slept}");
    assert_ne!(autostop.rule("m0")["since"], before);
    autostop.wait_for_state("m0", "down");
}

fn sshd(folder: &Path, port: u16) {
    for name in ["host", "user"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
    let at = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile {at}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
    );
    fs::write(folder.join("config"), config).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    script(
        folder,
        "start",
        &format!("(sleep 4; exec /usr/sbin/sshd -f {at}/config) >/dev/null 2>&1 </dev/null &\ntouch up"),
    );
    script(folder, "stop", "[ -f pid ] && kill $(cat pid)\nrm -f up pid");
    script(folder, "status", "if [ -f up ]; then echo running; else echo stopped; fi");
}

#[test]
fn a_machine_sleeps_until_ssh_comes_which_is_told_what_it_waits_for() {
    let folder = TempDir::new().unwrap();
    let (listener, address) = peer::listen();
    drop(listener);
    sshd(folder.path(), address.port());
    let rule = format!("{QUICK}[tcp.ssh]\nport = {}\n", address.port());
    let autostop =
        Autostop::before(&[Target { id: "m".to_owned(), provider: by_scripts(folder.path()), rule }]);
    autostop.wait_for_state("m0", "down");
    let port = autostop.port("m0").to_string();
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-v", "-p", &port, "-o", "ConnectTimeout=30", "-o", "StrictHostKeyChecking=no"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-i"])
        .arg(folder.path().join("user"));
    let output = ssh.args(["root@127.0.0.1", "echo woken"]).output().expect("ssh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "woken\n", "{said}");
    assert!(said.contains("m0 is starting"), "told while it waited: {said}");
    autostop.wait_for_state("m0", "down");
    wait_for("sshd to end", || (!folder.path().join("pid").exists()).then_some(()));
}

/// Echoes over WebSockets on this port.
const ECHO: &str = r#"
import asyncio, os, sys, websockets
async def echo(socket, path=None):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), subprotocols=["chat"]):
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        await asyncio.Future()
asyncio.run(main())
"#;

/// Says one frame over a WebSocket of HTTP/2, and prints what it hears.
const TALK: &str = r#"
const client = require("http2").connect(`http://127.0.0.1:${process.argv[2]}`);
const end = (words, code) => { console.log(words); process.exit(code); };
client.on("error", error => end(error.message, 1));
client.on("remoteSettings", settings => {
  if (!settings.enableConnectProtocol) end("no extended CONNECT", 1);
  const stream = client.request({
    ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/live",
    ":authority": "live.example.com", "sec-websocket-version": "13", "sec-websocket-protocol": "chat",
  });
  const said = Buffer.from("woken by a frame");
  let heard = Buffer.alloc(0);
  stream.on("error", error => end(error.message, 1));
  stream.on("response", head => {
    console.log(head[":status"], head["sec-websocket-protocol"]);
    stream.write(Buffer.concat([Buffer.from([0x81, 0x80 | said.length, 0, 0, 0, 0]), said]));
  });
  stream.on("data", data => {
    heard = Buffer.concat([heard, data]);
    if (heard.length >= 2 + said.length) end(heard.subarray(2).toString(), 0);
  });
});
"#;

#[test]
fn a_machine_sleeps_until_a_websocket_of_http2_comes() {
    let folder = TempDir::new().unwrap();
    let (listener, address) = peer::listen();
    drop(listener);
    let port = address.port();
    fs::write(folder.path().join("echo.py"), ECHO).unwrap();
    fs::write(folder.path().join("talk.js"), TALK).unwrap();
    let start = format!("/usr/bin/python3 echo.py {port} >/dev/null 2>&1 </dev/null &\ntouch up");
    script(folder.path(), "start", &start);
    script(folder.path(), "stop", "[ -f pid ] && kill $(cat pid)\nrm -f up pid");
    script(folder.path(), "status", "if [ -f up ]; then echo running; else echo stopped; fi");
    let rule = format!(
        "{QUICK}custom_domains = [\"live.example.com\"]\n[[http.routing]]\nsource_port = 80\ntarget_port = {port}\n[[tcp.forward_rule]]\nport = {port}\n"
    );
    let autostop =
        Autostop::before(&[Target { id: "m".to_owned(), provider: by_scripts(folder.path()), rule }]);
    autostop.wait_for_state("m0", "down");
    let port = autostop.http_port().to_string();
    let talk = folder.path().join("talk.js");
    let heard = run(Command::new("node").arg(talk).arg(port));
    assert_eq!(heard, "200 chat\nwoken by a frame\n");
    autostop.wait_for_state("m0", "down");
}
