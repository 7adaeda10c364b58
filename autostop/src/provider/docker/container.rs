//! Pure. What the engine's description of a container means.

use std::collections::BTreeMap;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as State, PortBinding};

use crate::provider::{Params, Seen, Status, options::DockerAddress, text};

fn state(container: &ContainerInspectResponse) -> Option<State> {
    container.state.as_ref()?.status
}

/// Paused is how a container hibernates.
pub(super) fn is_paused(container: &ContainerInspectResponse) -> bool {
    state(container) == Some(State::PAUSED)
}

/// It runs.
pub(super) fn is_up(container: &ContainerInspectResponse) -> bool {
    state(container) == Some(State::RUNNING)
}

/// How it is and where. `params.network` picks one of its networks, `params.port` one of its ports.
pub(super) fn seen(container: &ContainerInspectResponse, address: DockerAddress, params: &Params) -> Seen {
    let status = match state(container) {
        Some(State::RUNNING) => Status::Running,
        Some(State::CREATED | State::EXITED | State::DEAD | State::PAUSED) => Status::Stopped,
        Some(State::RESTARTING) => Status::Starting,
        Some(State::STOPPING) => Status::Stopping,
        Some(State::REMOVING) => Status::Missing,
        Some(State::EMPTY) | None => return Seen::unknown("the engine did not say"),
    };
    let addresses = match address {
        DockerAddress::Container => own(container, params),
        DockerAddress::Published => published(container, params),
    };
    Seen {
        status,
        addresses: addresses.iter().filter_map(|told| text::address(told)).collect(),
        reason: None,
    }
}

fn own(container: &ContainerInspectResponse, params: &Params) -> Vec<String> {
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks: BTreeMap<_, _> = networks.into_iter().flatten().collect();
    let wanted = params.get("network").and_then(serde_json::Value::as_str);
    networks
        .into_iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
        .filter_map(|(_, network)| {
            [&network.ip_address, &network.global_ipv6_address]
                .into_iter()
                .flatten()
                .find(|told| !told.is_empty())
        })
        .take(1)
        .cloned()
        .collect()
}

fn published(container: &ContainerInspectResponse, params: &Params) -> Vec<String> {
    let ports = container.network_settings.as_ref().and_then(|settings| settings.ports.as_ref());
    let ports: BTreeMap<u16, &PortBinding> = ports
        .into_iter()
        .flatten()
        .filter_map(|(port, bindings)| {
            let port = port.strip_suffix("/tcp")?.parse().ok()?;
            let bindings = bindings.as_ref()?;
            let v4 = |binding: &&PortBinding| !binding.host_ip.as_deref().unwrap_or_default().contains(':');
            Some((port, bindings.iter().find(v4).or(bindings.first())?))
        })
        .collect();
    let wanted = params.get("port").and_then(serde_json::Value::as_u64);
    let binding = match wanted {
        Some(wanted) => u16::try_from(wanted).ok().and_then(|wanted| ports.get(&wanted)),
        None => ports.values().next(),
    };
    let place = |binding: &&PortBinding| {
        let port = binding.host_port.as_deref()?;
        Some(match binding.host_ip.as_deref().unwrap_or_default() {
            "" | "0.0.0.0" => format!("127.0.0.1:{port}"),
            "::" => format!("[::1]:{port}"),
            ip if ip.contains(':') => format!("[{ip}]:{port}"),
            ip => format!("{ip}:{port}"),
        })
    };
    binding.and_then(place).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: &str) -> ContainerInspectResponse {
        serde_json::from_str(json).unwrap()
    }

    fn params(json: &str) -> Params {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_state_of_the_engine_has_a_status() {
        let check = |told: &str, expected: Status| {
            let container = container(&format!(r#"{{"State":{{"Status":"{told}"}}}}"#));
            assert_eq!(seen(&container, DockerAddress::Container, &Params::new()).status, expected, "{told}");
        };
        check("created", Status::Stopped);
        check("exited", Status::Stopped);
        check("dead", Status::Stopped);
        check("paused", Status::Stopped);
        check("running", Status::Running);
        check("restarting", Status::Starting);
        check("removing", Status::Missing);
        check("", Status::Unknown);
    }

    #[test]
    fn the_address_is_its_own_or_that_of_a_published_port() {
        let container = container(
            r#"{"State":{"Status":"running"},"NetworkSettings":{
                "Networks":{"b":{"IPAddress":"172.18.0.2"},"a":{"IPAddress":"172.17.0.2"},"c":{"IPAddress":""}},
                "Ports":{"8080/tcp":[{"HostIp":"0.0.0.0","HostPort":"32768"},{"HostIp":"::","HostPort":"32768"}],
                    "80/tcp":[{"HostIp":"::","HostPort":"81"}],"90/tcp":null,"53/udp":[{"HostPort":"53"}]}}}"#,
        );
        let check = |address, told: &str, expected: &[&str]| {
            assert_eq!(seen(&container, address, &params(told)).addresses, expected, "{told}");
        };
        check(DockerAddress::Container, "{}", &["172.17.0.2"]);
        check(DockerAddress::Container, r#"{"network":"b"}"#, &["172.18.0.2"]);
        check(DockerAddress::Container, r#"{"network":"z"}"#, &[]);
        check(DockerAddress::Published, "{}", &["[::1]:81"]);
        check(DockerAddress::Published, r#"{"port":8080}"#, &["127.0.0.1:32768"]);
        check(DockerAddress::Published, r#"{"port":90}"#, &[]);
        check(DockerAddress::Published, r#"{"port":99999}"#, &[]);
    }
}
