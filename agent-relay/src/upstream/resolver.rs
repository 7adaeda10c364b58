//! Asks name servers where a name leads, and for how long that is so.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::net::lookup_host;

use crate::beside::beside;

/// How long one question to one server may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 2;
/// For how long an answer is believed that says nothing of that.
const UNTOLD: Duration = Duration::from_secs(30);

/// Where a name leads.
#[derive(Debug)]
pub(super) struct Answer {
    /// At least one, and none that is nobody's.
    pub(super) addresses: Vec<IpAddr>,
    /// How long that is so.
    pub(super) lasts: Duration,
}

/// Asks these name servers, or those of the system when there are none.
///
/// # Errors
/// When there is no answer, or none that leads anywhere.
pub(super) async fn ask(host: &str, servers: &[SocketAddr]) -> io::Result<Answer> {
    let told = match build(servers.to_vec()).await {
        Ok(resolver) => look(&resolver, host).await,
        Err(error) => Err(error),
    };
    match told {
        // The system may know names by other means than name servers.
        Err(error) if servers.is_empty() => match lookup_host((host, 0)).await {
            Ok(found) => somewhere(found.map(|address| address.ip()), UNTOLD),
            Err(_) => Err(error),
        },
        told => told,
    }
}

/// Made anew for each question: what it goes by may have changed, and what it told is remembered elsewhere.
async fn build(servers: Vec<SocketAddr>) -> io::Result<TokioResolver> {
    beside(move || {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(io::Error::other)?
        } else {
            let servers = servers.into_iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build().map_err(io::Error::other)
    })
    .await?
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .to_vec();
    server
}

async fn look(resolver: &TokioResolver, host: &str) -> io::Result<Answer> {
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    somewhere(found.iter(), found.valid_until().saturating_duration_since(Instant::now()))
}

/// An answer without the addresses that are nobody's, which some name servers give for names that they block.
fn somewhere(addresses: impl Iterator<Item = IpAddr>, lasts: Duration) -> io::Result<Answer> {
    let is_nobody = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    };
    let addresses: Vec<_> = addresses.filter(|address| !is_nobody(address)).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name leads nowhere"));
    }
    Ok(Answer { addresses, lasts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_nobodys_is_no_answer() {
        let check = |told: &[&str], expected: &[&str]| {
            let read =
                |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
            let answer = somewhere(read(told).into_iter(), UNTOLD);
            assert_eq!(answer.map_or(Vec::new(), |answer| answer.addresses), read(expected), "{told:?}");
        };
        check(
            &["10.0.0.1", "0.0.0.0", "fd00::1", "::", "224.0.0.1", "255.255.255.255"],
            &["10.0.0.1", "fd00::1"],
        );
        check(&["0.0.0.0", "::ffff:0.0.0.0"], &[]);
        check(&[], &[]);
    }

    #[tokio::test]
    async fn what_the_system_knows_by_itself_is_found() {
        let answer = ask("localhost", &[]).await.unwrap();
        assert!(answer.addresses.iter().all(IpAddr::is_loopback), "{answer:?}");
    }
}
