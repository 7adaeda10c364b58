//! What the other side refuses: a path holds up itself, a key those who have it, and nothing holds up the rest.

use super::*;

/// Answers by the path and the key of each request, and writes both down.
async fn choosy(
    drain: &Drain,
    answer: impl Fn(&str, &str) -> u16 + Clone + Send + Sync + 'static,
) -> (Base, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let (own, until) = (Arc::clone(&seen), drain.clone());
    drain.spawn_own(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (own, answer) = (Arc::clone(&own), answer.clone());
            until.spawn_own(async move {
                let mut stream = BufReader::new(stream);
                while let Some((path, key, body)) = request(&mut stream).await {
                    let status = answer(&path, &key);
                    own.lock().unwrap().push(format!("{status} {path} {body}"));
                    let answer = format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (Base { tls: false, host: "127.0.0.1".to_owned(), port, path: String::new() }, seen)
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String, String)> {
    let (mut first, mut length, mut key) = (String::new(), 0, String::new());
    stream.read_line(&mut first).await.ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 2)?;
        let (name, value) = line.split_once(": ").unwrap();
        match name {
            "content-length" => length = value.trim().parse().unwrap(),
            "dd-api-key" => value.trim().clone_into(&mut key),
            _ => {}
        }
        if stream.buffer().starts_with(b"\r\n") {
            stream.read_line(&mut line).await.unwrap();
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), key, String::from_utf8(body).ok()?))
}

fn taken(seen: &Seen, path: &str) -> Vec<String> {
    let start = format!("202 {path} ");
    seen.lock().unwrap().iter().filter_map(|line| line.strip_prefix(&start).map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_path_that_the_other_side_does_not_have_holds_up_itself_and_comes_later_in_order() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let has_it = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&has_it);
    let (base, seen) = choosy(&drain, move |path, _| {
        if path == "/new" && !told.load(std::sync::atomic::Ordering::SeqCst) { 404 } else { 202 }
    })
    .await;
    let relay = relay(folder.path(), Wish::of(vec![base]), &drain);
    for body in ["1", "2", "3"] {
        keep_at(&relay, "a", "/new", body.as_bytes()).await.unwrap();
        keep_at(&relay, "a", "/intake/", body.as_bytes()).await.unwrap();
    }
    wait_for("what is not refused", || taken(&seen, "/intake/").len() == 3).await;
    assert_eq!(taken(&seen, "/intake/"), ["1", "2", "3"]);
    wait_for("the rest aside", || relay.queue.balance().delivered == 3).await;
    let balance = relay.queue.balance();
    assert_eq!((balance.accepted, balance.queued, balance.dead_lettered), (6, 3, 0));
    has_it.store(true, std::sync::atomic::Ordering::SeqCst);
    keep_at(&relay, "a", "/new", b"4").await.unwrap();
    wait_for("an empty queue", || relay.queue.balance().queued == 0).await;
    assert_eq!(taken(&seen, "/new"), ["1", "2", "3", "4"]);
    assert_eq!(relay.queue.balance().delivered, 7);
    let tries = seen.lock().unwrap().iter().filter(|line| line.starts_with("404")).count();
    assert!(tries <= 6, "one probe at a time: {tries}");
}

#[tokio::test]
async fn a_refused_key_holds_up_those_who_have_it_in_place_and_nobody_else() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let is_good = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&is_good);
    let (base, seen) = choosy(&drain, move |_, key| {
        if key == "bad" && !told.load(std::sync::atomic::Ordering::SeqCst) { 403 } else { 202 }
    })
    .await;
    let relay = relay(folder.path(), Wish::of(vec![base]), &drain);
    let keep = async |agent: &str, key: &str, path: &str, body: &'static str| {
        let place = crate::envelope::Place::Field(http::HeaderName::from_static("dd-api-key"));
        let secrets = vec![crate::envelope::Secret { place, tag: relay.keys.tag(key).0 }];
        let envelope =
            Envelope { method: "POST".to_owned(), path: path.to_owned(), secrets, ..Envelope::default() };
        relay
            .queue
            .keep(format!("{agent} - -"), encode(&envelope).into(), Bytes::from(body).into(), None)
            .await
            .unwrap();
    };
    for body in ["1", "2"] {
        keep("a", "bad", "/intake/", body).await;
        keep("b", "bad", "/series", body).await;
        keep("c", "good", "/other", body).await;
    }
    wait_for("the good key", || taken(&seen, "/other").len() == 2).await;
    wait_for("the bad one", || relay.holds().held() == [(0, None)]).await;
    assert!(relay.queue.agents().iter().all(|agent| agent.moved_out == 0), "nothing is written twice for it");
    is_good.store(true, std::sync::atomic::Ordering::SeqCst);
    wait_for("an empty queue", || relay.queue.balance().queued == 0).await;
    assert_eq!(taken(&seen, "/intake/"), ["1", "2"]);
    assert_eq!(taken(&seen, "/series"), ["1", "2"]);
    assert_eq!(relay.queue.balance().delivered, 6);
}

#[tokio::test]
async fn a_body_that_goes_slowly_is_waited_for_as_long_as_it_goes() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let base = Base { tls: false, host: "127.0.0.1".to_owned(), port, path: String::new() };
    let relay =
        relay(folder.path(), Wish { patience: Duration::from_millis(600), ..Wish::of(vec![base]) }, &drain);
    let body: &'static [u8] = vec![b'x'; 24 << 20].leak();
    keep(&relay, "a", body).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut read, begun) = (0, std::time::Instant::now());
    let mut part = vec![0; 1 << 20];
    while read < body.len() {
        // Sleeps: a slow link is what this is about.
        time::sleep(Duration::from_millis(60)).await;
        let taken = stream.read(&mut part).await.unwrap();
        assert!(taken > 0, "it was given up after {read} bytes");
        read += taken;
    }
    assert!(begun.elapsed() > Duration::from_millis(600), "it was slower than it may be silent");
    stream.write_all(b"HTTP/1.1 202 Told\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    wait_for("the delivery", || relay.queue.balance().delivered == 1).await;
}
