//! The certificates of the plan, chosen by the name that a client asks for, changed while it runs.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::wire;

/// The certificates in use.
#[derive(Default)]
pub struct Certificates {
    now: RwLock<Arc<ByName>>,
}

#[derive(Default)]
struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    fn now(&self) -> Arc<ByName> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses these from now on. In place of one that cannot be used, what was used for its names stays.
    pub fn take(&self, told: &[wire::Certificate]) {
        let before = self.now();
        let mut next = ByName::default();
        for certificate in told {
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(&certificate.chain).filter_map(Result::ok).collect();
            let names = names(&chain);
            match read(chain, &certificate.key) {
                Ok(key) => next.add(&names, &Arc::new(key)),
                Err(error) => {
                    tracing::warn!(?names, %error, "a certificate is refused; the one before it stays");
                    for name in &names {
                        if let Some(key) = before.names.get(name) {
                            next.add(std::slice::from_ref(name), key);
                        }
                    }
                }
            }
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl ByName {
    fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        self.first.get_or_insert_with(|| Arc::clone(key));
        for name in names {
            self.names.insert(name.clone(), Arc::clone(key));
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.names.get(&name).or_else(|| self.names.get(&wildcard()?))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now();
        let named = hello.server_name().and_then(|name| now.find(name));
        named.or(now.first.as_ref()).map(Arc::clone)
    }
}

/// The names that a certificate is for, in lower case.
fn names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let certificate = chain.first().and_then(|first| webpki::EndEntityCert::try_from(first).ok());
    certificate.map(|one| one.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

fn read(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<CertifiedKey, rustls::Error> {
    if chain.is_empty() {
        return Err(rustls::Error::NoCertificatesPresented);
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| rustls::Error::General(format!("the key is not PEM: {error}")))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

/// The cryptography of this daemon.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What a listener for HTTPS needs.
///
/// # Errors
/// When the cryptography has none of the usual protocol versions.
pub(super) fn server(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> (wire::Certificate, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let told =
            wire::Certificate { chain: made.cert.pem().into(), key: made.signing_key.serialize_pem().into() };
        (told, made)
    }

    fn in_use(certificates: &Certificates, name: &str) -> Option<Vec<u8>> {
        certificates.now().find(name).map(|key| key.cert[0].to_vec())
    }

    #[test]
    fn a_certificate_is_found_by_its_names_and_by_those_its_star_stands_for() {
        let certificates = Certificates::default();
        let (shop, made) = certificate(&["shop.example.com", "*.shop.example.com"]);
        certificates.take(&[shop]);
        for name in ["shop.example.com", "SHOP.example.com.", "a.shop.example.com"] {
            assert_eq!(in_use(&certificates, name), Some(made.cert.der().to_vec()), "{name}");
        }
        assert_eq!(in_use(&certificates, "a.b.shop.example.com"), None);
    }

    #[test]
    fn a_key_that_does_not_match_is_refused_and_the_old_certificate_stays() {
        let certificates = Certificates::default();
        let (good, made) = certificate(&["shop.example.com"]);
        certificates.take(std::slice::from_ref(&good));
        let (other, _) = certificate(&["shop.example.com"]);
        let mixed = wire::Certificate { key: good.key, ..other.clone() };
        certificates.take(&[mixed]);
        assert_eq!(in_use(&certificates, "shop.example.com"), Some(made.cert.der().to_vec()));
        certificates.take(&[other]);
        assert_ne!(in_use(&certificates, "shop.example.com"), Some(made.cert.der().to_vec()));
        certificates.take(&[]);
        assert_eq!(in_use(&certificates, "shop.example.com"), None);
    }
}
