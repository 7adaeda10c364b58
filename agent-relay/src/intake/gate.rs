//! Pure. Which agents may speak, and which address is theirs behind a load balancer.

use std::net::IpAddr;

use common::config::Secret;
use ipnet::IpNet;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// Networks of agents; empty for all.
    pub(crate) allow: Vec<IpNet>,
    /// What every request has to bring, as a bearer's token or as its API key.
    pub(crate) token: Option<Secret>,
    /// Load balancers whose `X-Forwarded-For` is believed.
    pub(crate) trusted: Vec<IpNet>,
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

impl Gate {
    /// Whether a connection from here may say something at all.
    pub(super) fn lets_in(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.allow.is_empty() || is_in(&self.allow, peer) || is_in(&self.trusted, peer)
    }

    /// The address of the agent itself: what the nearest load balancer that is not believed says, or who connected.
    pub(super) fn agent(&self, peer: IpAddr, forwarded: Option<&str>) -> IpAddr {
        let mut agent = peer.to_canonical();
        for told in forwarded.unwrap_or_default().rsplit(',') {
            if !is_in(&self.trusted, agent) {
                break;
            }
            let Ok(told) = told.trim().parse::<IpAddr>() else { break };
            agent = told.to_canonical();
        }
        agent
    }

    /// Whether an agent may have its request answered. `told` is what it brought.
    pub(super) fn admits<'a>(&self, agent: IpAddr, told: impl IntoIterator<Item = &'a str>) -> bool {
        let is_near = self.allow.is_empty() || is_in(&self.allow, agent);
        let knows = |token: &Secret| told.into_iter().any(|told| token.matches(told.as_bytes()));
        is_near && self.token.as_ref().is_none_or(knows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn agents_of_other_networks_stay_outside() {
        let gate = Gate {
            allow: networks(&["10.0.0.0/8", "fd00::/8"]),
            trusted: networks(&["192.0.2.7/32"]),
            token: None,
        };
        for (peer, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("192.0.2.7", true),
            ("11.0.0.1", false),
        ] {
            assert_eq!(gate.lets_in(address(peer)), expected, "{peer}");
        }
        assert!(gate.admits(address("10.1.2.3"), []));
        assert!(!gate.admits(address("192.0.2.7"), []), "a load balancer is no agent");
        assert!(Gate::default().lets_in(address("11.0.0.1")));
    }

    #[test]
    fn only_a_load_balancer_that_is_believed_says_who_the_agent_is() {
        let gate = Gate { trusted: networks(&["192.0.2.0/24"]), ..Gate::default() };
        let check = |peer: &str, forwarded: Option<&str>, expected: &str| {
            assert_eq!(gate.agent(address(peer), forwarded), address(expected), "{peer} {forwarded:?}");
        };
        check("10.0.0.1", Some("10.9.9.9"), "10.0.0.1");
        check("192.0.2.1", Some("10.9.9.9"), "10.9.9.9");
        check("192.0.2.1", Some("6.6.6.6, 10.9.9.9, 192.0.2.2"), "10.9.9.9");
        check("192.0.2.1", Some("nonsense"), "192.0.2.1");
        check("192.0.2.1", None, "192.0.2.1");
    }

    #[test]
    fn a_token_is_asked_of_everybody() {
        let gate = Gate { token: Some(Secret::from("hush")), ..Gate::default() };
        let peer = address("10.0.0.1");
        assert!(gate.admits(peer, ["x", "hush"]));
        assert!(!gate.admits(peer, ["x", "hus"]) && !gate.admits(peer, []));
    }
}
