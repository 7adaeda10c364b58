//! The same over TLS: answers, and streams that are told, kept while they are quiet, and closed with their key.

use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::*;
use crate::secret::KeyHash;

async fn connect(port: u16, roots: &RootCertStore) -> BufReader<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("relay.example").unwrap();
    BufReader::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
}

async fn until(peer: &mut BufReader<TlsStream<TcpStream>>, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(peer.read_line(&mut line).await.unwrap() > 0, "{text} does not come");
    }
    line
}

#[tokio::test]
async fn sdks_are_spoken_to_over_tls() {
    let made = generate_simple_self_signed(vec!["relay.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let acceptor = crate::tls::acceptor(&chain, &key).unwrap();
    assert!(crate::tls::acceptor(&key, &chain).is_err(), "the one is not the other");
    let relay = Relay::start_over(vec![serving("f", "true")], |_| {}, Some(acceptor));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut peer = connect(relay.port, &roots).await;
    let body = r#"{"apiKey":"e-key"}"#;
    let head = format!("POST /client/auth HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    peer.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let length = until(&mut peer, "content-length: ").await;
    until(&mut peer, "date: ").await;
    let mut told = vec![0; 2 + length.trim().rsplit(' ').next().unwrap().parse::<usize>().unwrap()];
    peer.read_exact(&mut told).await.unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    let token = told["authToken"].as_str().unwrap();
    let stream = format!("GET /stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAPI-Key: e-key\r\n\r\n");
    peer.write_all(stream.as_bytes()).await.unwrap();
    until(&mut peer, "text/event-stream").await;
    relay.tell(Update::Flags("e".to_owned(), vec![serving("f", "false")]));
    assert!(until(&mut peer, "data: ").await.contains("\"identifier\":\"f\""));
    relay.tell(Update::RemoveKey("e".to_owned(), KeyHash::of("e-key")));
    let mut rest = String::new();
    peer.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
