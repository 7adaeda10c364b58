//! Connections to Redis: one server, a cluster, or the one that its sentinels say.

use std::{path::PathBuf, sync::Once, time::Duration};

use anyhow::Context as _;
use common::config::Secret;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo as _, Pipeline, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio::time;
use tokio_rustls::rustls::crypto::ring;

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long an answer may take; longer than any that is waited for on purpose.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Where Redis is, and who asks it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// `host:port`, `redis://…` or `rediss://…`. Several are a cluster, or sentinels.
    pub addresses: Vec<String>,
    /// The user of the access list.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database, where the address names none.
    pub database: i64,
    /// The name that sentinels know the server by; the addresses are theirs then.
    pub master: Option<String>,
    /// The authorities to believe instead of those of the system; PEM.
    pub authorities: Option<PathBuf>,
    /// Our own certificate chain and its key; PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How many bodies of metrics wait in Redis.
    pub most_metrics: usize,
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Link {
    nodes: Vec<ConnectionInfo>,
    master: Option<String>,
    certificates: Option<TlsCertificates>,
}

/// One connection.
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Understands where Redis is.
    ///
    /// # Errors
    /// When an address is none, or a file cannot be read.
    pub(super) fn new(place: &Place) -> anyhow::Result<Self> {
        static PROVIDER: Once = Once::new();
        // The client asks for the one of the process; where another is set already, that one is used.
        PROVIDER.call_once(|| drop(ring::default_provider().install_default()));
        let nodes: anyhow::Result<Vec<_>> =
            place.addresses.iter().map(|address| node(address, place)).collect();
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let root_cert = place.authorities.as_ref().map(read).transpose()?;
        let client_tls = match &place.identity {
            Some((chain, key)) => Some(ClientTlsConfig { client_cert: read(chain)?, client_key: read(key)? }),
            None => None,
        };
        let is_told = root_cert.is_some() || client_tls.is_some();
        let certificates = is_told.then_some(TlsCertificates { client_tls, root_cert });
        Ok(Self { nodes: nodes?, master: place.master.clone(), certificates })
    }

    /// A new connection.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let connecting = async {
            if let Some(master) = &self.master {
                return self.ask_sentinels(master).await.map(Connection::One);
            }
            match self.nodes.as_slice() {
                [only] => {
                    let client = match &self.certificates {
                        Some(told) if is_tls(only) => Client::build_with_tls(only.clone(), told.clone())?,
                        _ => Client::open(only.clone())?,
                    };
                    client.get_multiplexed_async_connection_with_config(&timing()).await.map(Connection::One)
                }
                several => self.join(several).await.map(Connection::Cluster),
            }
        };
        match time::timeout(CONNECT_TIME + CONNECT_TIME, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err((redis::ErrorKind::Io, "it does not answer in time").into()),
        }
    }

    async fn join(&self, nodes: &[ConnectionInfo]) -> RedisResult<ClusterConnection> {
        let mut builder = ClusterClient::builder(nodes.iter().cloned())
            .connection_timeout(CONNECT_TIME)
            .response_timeout(ANSWER_TIME)
            .retries(2);
        if let Some(told) = &self.certificates {
            builder = builder.certs(told.clone());
        }
        builder.build()?.get_async_connection().await
    }

    async fn ask_sentinels(&self, master: &str) -> RedisResult<MultiplexedConnection> {
        let addresses: Vec<ConnectionAddr> = self.nodes.iter().map(|node| node.addr().clone()).collect();
        let is_tls = self.nodes.iter().any(is_tls);
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
        if let Some(settings) = self.nodes.first().map(ConnectionInfo::redis_settings) {
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(name) = settings.username() {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        if is_tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
            if let Some(told) = &self.certificates {
                builder = builder
                    .set_client_to_redis_certificates(told.clone())
                    .set_client_to_sentinel_certificates(told.clone());
            }
        }
        builder.build()?.get_async_connection_with_config(&timing()).await
    }
}

fn timing() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME))
        .set_response_timeout(Some(ANSWER_TIME))
}

fn is_tls(node: &ConnectionInfo) -> bool {
    matches!(node.addr(), ConnectionAddr::TcpTls { .. })
}

fn node(address: &str, place: &Place) -> anyhow::Result<ConnectionInfo> {
    let url = if address.contains("://") { address.to_owned() } else { format!("redis://{address}") };
    // What is wrong with it is not told: there may be a password in it.
    let info = url.into_connection_info().ok().context("REDIS_ADDRESS has what is no address")?;
    let mut settings = info.redis_settings().clone();
    if let Some(name) = &place.username {
        settings = settings.set_username(name);
    }
    if let Some(password) = &place.password {
        settings = settings.set_password(password.expose());
    }
    if settings.db() == 0 {
        settings = settings.set_db(place.database);
    }
    Ok(info.set_redis_settings(settings))
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_and_what_was_set_beside_them_goes_first() {
        let place = Place {
            username: Some("relay".to_owned()),
            password: Some(Secret::from("word")),
            database: 3,
            ..Place::default()
        };
        let check = |address: &str, expected: (&str, u16, bool, i64)| {
            let info = node(address, &place).unwrap();
            let (host, port) = match info.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    (host.as_str(), *port)
                }
                _ => panic!("{address}"),
            };
            let settings = info.redis_settings();
            assert_eq!((host, port, is_tls(&info), settings.db()), expected, "{address}");
            assert_eq!((settings.username(), settings.password()), (Some("relay"), Some("word")));
        };
        check("redis:6379", ("redis", 6379, false, 3));
        check("localhost", ("localhost", 6379, false, 3));
        check("redis://other:secret@redis/5", ("redis", 6379, false, 5));
        check("rediss://redis:6380", ("redis", 6380, true, 3));
        check("[::1]:7", ("::1", 7, false, 3));
        let told = node("http://:secret@redis", &place).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }
}
