//! Where names lead: asked anew now and then, with the last good answer kept while nobody answers.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::quiet::Quiet;
use tokio::{
    net::{TcpStream, lookup_host},
    time,
};

/// For how long an answer is believed.
const FRESH: Duration = Duration::from_secs(30);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one address of several may take to answer.
const ADDRESS: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    asked: Instant,
    turns: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<(String, u16), Known>>);

impl Names {
    fn known(&self) -> MutexGuard<'_, HashMap<(String, u16), Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a name still leads to this address, as far as is known.
    pub(crate) fn leads_to(&self, host: &str, address: SocketAddr) -> bool {
        let known = self.known();
        known.get(&(host.to_owned(), address.port())).is_none_or(|name| name.addresses.contains(&address))
    }

    /// Where a name leads, beginning with another address each time.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let place = (host.to_owned(), port);
        let is_fresh = self.known().get(&place).is_some_and(|known| known.asked.elapsed() < FRESH);
        if !is_fresh {
            let told = time::timeout(PATIENCE, lookup_host((host, port))).await;
            let told = told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let told = told.map(Vec::from_iter).and_then(|addresses| {
                if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
            });
            self.learn(place.clone(), told)?;
        }
        let mut known = self.known();
        let Some(name) = known.get_mut(&place) else { return Err(io::ErrorKind::NotFound.into()) };
        let mut addresses = name.addresses.clone();
        if !addresses.is_empty() {
            let turn = name.turns % addresses.len();
            addresses.rotate_left(turn);
        }
        name.turns = name.turns.wrapping_add(1);
        Ok(addresses)
    }

    /// Takes up an answer. Without one, what is known stays; an error when nothing is.
    fn learn(&self, place: (String, u16), told: io::Result<Vec<SocketAddr>>) -> io::Result<()> {
        let mut all = self.known();
        match (told, all.get_mut(&place)) {
            (Ok(addresses), Some(known)) => {
                known.addresses = addresses;
                known.asked = Instant::now();
            }
            (Ok(addresses), None) => {
                all.insert(place, Known { addresses, asked: Instant::now(), turns: 0 });
            }
            (Err(error), Some(known)) => {
                known.asked = Instant::now();
                static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    let host = place.0;
                    tracing::warn!(
                        host,
                        %error,
                        suppressed,
                        "a name cannot be resolved now; its last addresses are kept"
                    );
                }
            }
            (Err(error), None) => return Err(error),
        }
        Ok(())
    }

    /// Connects to a name, to one of its addresses after the other.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let addresses = self.resolve(host, port).await?;
        let count = addresses.len();
        for address in addresses {
            let connecting = TcpStream::connect(address);
            let connected =
                if count > 1 { time::timeout(ADDRESS, connecting).await } else { Ok(connecting.await) };
            match connected {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_good_answer_is_kept_and_a_new_one_is_taken_up() {
        let names = Names::default();
        let place = || ("backend".to_owned(), 80);
        let gone = || io::Error::from(io::ErrorKind::TimedOut);
        assert!(names.learn(place(), Err(gone())).is_err());
        names.learn(place(), Ok(vec![address("10.0.0.1:80")])).unwrap();
        names.learn(place(), Err(gone())).unwrap();
        assert!(names.leads_to("backend", address("10.0.0.1:80")));
        names.learn(place(), Ok(vec![address("10.0.0.2:80")])).unwrap();
        assert!(!names.leads_to("backend", address("10.0.0.1:80")), "its connections are let go");
        assert!(names.leads_to("other", address("10.0.0.1:80")), "of others nothing is known");
    }

    #[tokio::test]
    async fn an_address_that_is_dead_is_passed_over() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let dead = SocketAddr::from(([127, 0, 0, 2], good.port()));
        let names = Names::default();
        names.learn(("backend".to_owned(), good.port()), Ok(vec![dead, good])).unwrap();
        for _ in 0..2 {
            let stream = names.connect("backend", good.port()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
    }
}
