//! What becomes of a call when the engine is not there, or goes away.

use std::{path::PathBuf, time::Duration};

use super::*;

fn target(ids: &[&str]) -> Target {
    Target { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Target::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn an_engine_that_is_not_there_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("docker.sock");
    let provider = Docker::new(options::Docker { socket: socket.clone(), ..options::Docker::default() });
    let error = provider.start(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
    // Somebody listened there once.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = provider.status(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
}

#[tokio::test]
async fn an_engine_that_goes_away_during_a_call_leaves_the_outcome_open() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let engine = async {
        let bodies = [r#"{"ApiVersion":"1.41"}"#, r#"{"State":{"Status":"exited"}}"#];
        for body in bodies.map(Some).into_iter().chain([None]) {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            let Some(body) = body else { return String::from_utf8(request).unwrap() };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        String::new()
    };
    let provider = Docker::new(options::Docker { socket, ..options::Docker::default() });
    let (target, deadline) = (target(&["a"]), soon());
    let (error, last) = tokio::join!(provider.start(&target, deadline), engine);
    assert!(last.starts_with("POST ") && last.contains("/containers/a/start "), "{last}");
    assert_eq!(error.unwrap_err().fault, Fault::Interrupted);
}
