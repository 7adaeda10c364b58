//! Where names lead: asked anew when an answer has grown too old by its own measure, with the last good answer kept
//! while nobody gives another.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{drain::Drain, quiet::Quiet};
use tokio::{net::TcpStream, time};

use super::resolver::{Answer, ask};

/// For how long an answer is believed at least and at most, whatever it says.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
/// When it is asked again after there was no answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one address of several may take to answer.
const ADDRESS: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    /// When it is to be asked again.
    until: Instant,
    turns: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Mutex<HashMap<String, Known>>,
    /// The name servers; without any, those of the system.
    servers: Mutex<Vec<SocketAddr>>,
    /// Held while a name is asked for that was never known, so that not everybody asks.
    first: tokio::sync::Mutex<()>,
}

impl Names {
    /// These are asked.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { servers: Mutex::new(servers), ..Self::default() })
    }

    /// These are asked from now on.
    pub(crate) fn follow(&self, servers: Vec<SocketAddr>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a name still leads to this address, as far as is known.
    pub(crate) fn leads_to(&self, host: &str, address: SocketAddr) -> bool {
        self.known().get(host).is_none_or(|name| name.addresses.contains(&address.ip()))
    }

    /// Where a name leads, beginning with another address each time.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let _alone = if self.known().contains_key(host) { None } else { Some(self.first.lock().await) };
        if self.is_due(host, Instant::now()) {
            self.ask(host).await?;
        }
        let mut known = self.known();
        let Some(name) = known.get_mut(host) else { return Err(io::ErrorKind::NotFound.into()) };
        let mut addresses: Vec<_> = name.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        if !addresses.is_empty() {
            let turn = name.turns % addresses.len();
            addresses.rotate_left(turn);
        }
        name.turns = name.turns.wrapping_add(1);
        Ok(addresses)
    }

    async fn ask(&self, host: &str) -> io::Result<()> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = time::timeout(PATIENCE, ask(host, &servers)).await;
        self.learn(host, told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())), Instant::now())
    }

    /// Has a name asked for again that is known and due, beside who uses its connections: as long as these are in
    /// use, nobody connects anew and asks.
    pub(crate) fn refresh(self: &Arc<Self>, host: &str, drain: &Drain) {
        if self.known().contains_key(host) && self.is_due(host, Instant::now()) {
            let (own, host) = (Arc::clone(self), host.to_owned());
            // Without an answer, what is known stays.
            let until = drain.clone();
            drain.spawn(async move {
                tokio::select! {
                    asked = own.ask(&host) => drop(asked),
                    () = until.started() => {}
                }
            });
        }
    }

    /// Whether who asks now has to ask on; everybody else goes by what is known meanwhile.
    fn is_due(&self, host: &str, now: Instant) -> bool {
        match self.known().get_mut(host) {
            None => true,
            Some(known) if known.until <= now => {
                known.until = now + PATIENCE;
                true
            }
            Some(_) => false,
        }
    }

    /// Takes up an answer. Without one, what is known stays; an error when nothing is.
    fn learn(&self, host: &str, told: io::Result<Answer>, now: Instant) -> io::Result<()> {
        let mut all = self.known();
        match (told, all.get_mut(host)) {
            (Ok(Answer { addresses, lasts }), known) => {
                let until = now + lasts.clamp(LEAST, MOST);
                let turns = known.map_or(0, |known| known.turns);
                all.insert(host.to_owned(), Known { addresses, until, turns });
            }
            (Err(error), Some(known)) => {
                known.until = now + AGAIN;
                static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
                if let Some(suppressed) = QUIET.speak(now) {
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

    fn answer(texts: &[&str], seconds: u64) -> io::Result<Answer> {
        let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Answer { addresses, lasts: Duration::from_secs(seconds) })
    }

    #[test]
    fn the_last_good_answer_is_kept_and_a_new_one_is_taken_up() {
        let (names, now) = (Names::default(), Instant::now());
        let gone = || Err(io::Error::from(io::ErrorKind::TimedOut));
        assert!(names.learn("backend", gone(), now).is_err());
        names.learn("backend", answer(&["10.0.0.1"], 9), now).unwrap();
        names.learn("backend", gone(), now).unwrap();
        assert!(names.leads_to("backend", address("10.0.0.1:80")));
        names.learn("backend", answer(&["10.0.0.2"], 9), now).unwrap();
        assert!(!names.leads_to("backend", address("10.0.0.1:80")), "its connections are let go");
        assert!(names.leads_to("other", address("10.0.0.1:80")), "of others nothing is known");
    }

    #[test]
    fn an_answer_is_believed_as_long_as_it_says_and_then_one_asks_for_all() {
        let (names, now) = (Names::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(names.is_due("backend", now));
        names.learn("backend", answer(&["10.0.0.1"], 9), now).unwrap();
        assert!(!names.is_due("backend", after(8)));
        assert_eq!([names.is_due("backend", after(9)), names.is_due("backend", after(9))], [true, false]);
        names.learn("backend", Err(io::ErrorKind::NotFound.into()), after(9)).unwrap();
        assert!(!names.is_due("backend", after(10)) && names.is_due("backend", after(11)));
        names.learn("backend", answer(&["10.0.0.1"], 0), now).unwrap();
        assert!(!names.is_due("backend", now), "not for every connection");
        names.learn("backend", answer(&["10.0.0.1"], 86_400), now).unwrap();
        assert!(names.is_due("backend", after(300)), "nor for ever");
    }

    #[tokio::test]
    async fn an_address_that_is_dead_is_passed_over() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let names = Names::default();
        names.learn("backend", answer(&["127.0.0.2", "127.0.0.1"], 60), Instant::now()).unwrap();
        for _ in 0..2 {
            let stream = names.connect("backend", good.port()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
    }
}
