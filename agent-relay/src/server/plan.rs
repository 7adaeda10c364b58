//! Makes of a configuration what the running parts follow: at the start, and whenever it is read again.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use common::drain::Drain;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    config::Config,
    intake::Terms,
    queue::Quota,
    relay::Plan,
    route::Routes,
    upstream::{self, Names, Upstream},
};

pub(super) fn quota(config: &Config) -> Quota {
    Quota { bytes: config.max_bytes, agent_bytes: config.agent_max_bytes, dead_bytes: config.dead_max_bytes }
}

pub(super) fn plan(config: &Config, names: &Arc<Names>, drain: &Drain) -> anyhow::Result<Plan> {
    let dialer = upstream::dialer(&config.trust, config.proxies.clone(), names)?;
    let open =
        |spec: &upstream::Spec| Arc::new(Upstream::new(spec.clone(), Arc::clone(&dialer), drain.clone()));
    Ok(Plan {
        upstreams: config.upstreams.iter().map(open).collect(),
        routes: Routes::new(config.rules.clone(), config.others.clone()),
        patience: config.patience,
        max_age: config.max_age,
    })
}

pub(super) fn terms(config: &Config) -> anyhow::Result<Terms> {
    let tls = match &config.tls {
        Some((certificate, key)) => Some(acceptor(certificate, key)?),
        None => None,
    };
    Ok(Terms { gate: config.gate.clone(), tls, max_body: config.body_max_bytes })
}

fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let reading = |path: &Path| format!("read {}", path.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect())
        .with_context(|| reading(certificate))?;
    ensure!(!chain.is_empty(), "no certificate in {}", certificate.display());
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| reading(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .context("use tls_cert with tls_key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
