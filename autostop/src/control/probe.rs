//! Whether a target that was started is ready: its health check, or its first port.

use std::time::Duration;

use tokio::time::{self, Instant};

use crate::{
    plane::{
        dial::Place,
        plan::{Health, Preset},
        ready::{Check, is_ready},
    },
    ports::Ports,
    rule::Rule,
    wire,
};

/// Between two tries in the first seconds; a wake takes no longer than it has to.
const SHORT: Duration = Duration::from_millis(50);
/// For how long it is tried so often.
const SHORT_FOR: Duration = Duration::from_secs(5);
/// Between two tries after that.
const LONG: Duration = Duration::from_millis(500);

/// How to ask the targets of a rule; `None` when there is nothing to ask: then what runs is ready.
pub fn check(rule: &Rule) -> Option<Check> {
    let health = rule.target(&Ports::default()).health.as_ref().and_then(Health::read);
    let tcp = rule.tcp.first().map(|tcp| (tcp.target_port, wire::Preset::from(tcp.preset).into()));
    let http = rule.http.first().map(|route| (route.target_port, Preset::Tcp));
    let asked = health.as_ref().map(|health| (health.port, Preset::Tcp));
    let (port, preset) = tcp.or(http).or(asked)?;
    Some(Check { port, preset, health })
}

/// Returns once one of the addresses is ready.
pub async fn until_ready(check: Option<Check>, addresses: Vec<String>) {
    let Some(check) = check else { return };
    let places: Vec<_> = addresses.iter().filter_map(|address| Place::parse(address)).collect();
    let begun = Instant::now();
    loop {
        for place in &places {
            if is_ready(place, &check).await {
                return;
            }
        }
        time::sleep(if begun.elapsed() < SHORT_FOR { SHORT } else { LONG }).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::rule::{Surroundings, check as check_rules, parse};

    fn check_of(text: &str) -> Option<Check> {
        let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56999 };
        let text = format!("name = \"a\"\nprovider = \"lab\"\nfilter.vm_ids = [\"a\"]\n{text}");
        let rules = check_rules(&[("a".to_owned(), parse("a", &text).unwrap())], &around).unwrap();
        rules.iter().next().and_then(check)
    }

    fn here() -> Vec<String> {
        vec!["127.0.0.1".to_owned()]
    }

    #[tokio::test]
    async fn ready_is_whose_health_check_is_good() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = check_of(&format!(
            "[[tcp.forward_rule]]\nport = {port}\n[http.health]\nprotocol = \"http\"\nport = {port}\npath = \"/healthz\"\nstatus_code_from = 200\nstatus_code_to = 299\n"
        ));
        let serve = async {
            for answer in ["HTTP/1.1 503 Not yet\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 204 Fine\r\n\r\n"] {
                // The first connection only looks whether the port is open.
                drop(listener.accept().await.unwrap());
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                assert!(asked[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        tokio::join!(serve, until_ready(check, here()));
    }

    #[tokio::test]
    async fn a_database_is_ready_once_it_takes_sessions() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = check_of(&format!("[[tcp.forward_rule]]\nport = {port}\nprotocol = \"postgres\"\n"));
        let serve = async {
            let starting: &[u8] = b"E\0\0\0\x20SFATAL\0VFATAL\0C57P03\0Mstarting\0\0";
            for answer in [starting, b"", b"R\0\0\0\x08\0\0\0\0"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                assert_eq!(asked[3], u8::try_from(length).unwrap(), "its length is that of what came");
                stream.write_all(answer).await.unwrap();
            }
        };
        tokio::join!(serve, until_ready(check, here()));
    }

    #[tokio::test]
    async fn what_has_no_port_is_ready_when_it_runs() {
        until_ready(None, Vec::new()).await;
    }
}
