//! Certificates for the planes: those of files as they are read, and those that providers keep, fetched, checked, kept
//! for the next start, and fetched again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use common::{disk::replace_private, drain::Drain};
use serde::{Deserialize, Serialize};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{self, Instant, MissedTickBehavior},
};

use super::{Control, Input, book::Book};
use crate::{
    config::{Certificate, InStore, Live},
    provider::batch::Caller,
    rule::Rules,
    wire,
};

/// How often it is looked whether other certificates are wanted.
const LOOK: Duration = Duration::from_secs(1);
/// How often those of stores are fetched again; SIGHUP has it done at once.
const PERIOD: Duration = Duration::from_mins(5);
/// The same after something could not be fetched.
const RETRY: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Vault {
    file: PathBuf,
    callers: BTreeMap<String, Caller>,
    kept: BTreeMap<InStore, Certificate>,
    /// What was told of each, so that it is told once.
    problems: BTreeMap<InStore, String>,
}

/// A certificate as it is kept on disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    from: InStore,
    chain: String,
    key: String,
}

impl Vault {
    /// With what was kept by the run before. What cannot be read is fetched again.
    pub(super) fn open(state_dir: &Path, callers: BTreeMap<String, Caller>) -> Self {
        let file = state_dir.join("control").join("certificates");
        let told = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Vec<Kept>>(&bytes).ok());
        let kept = told.unwrap_or_default().into_iter().map(|kept| {
            (kept.from, Certificate { chain: Bytes::from(kept.chain), key: Bytes::from(kept.key) })
        });
        Self { file, callers, kept: kept.collect(), problems: BTreeMap::new() }
    }

    /// All there are: of files first, then those of stores.
    pub(super) fn certificates(&self, live: &Live) -> Vec<wire::Certificate> {
        all(live, &self.stored())
    }

    fn stored(&self) -> Vec<Certificate> {
        self.kept.values().cloned().collect()
    }

    /// Follows files, rules and stores until the stop. A store that keeps silent holds up nothing else.
    ///
    /// # Errors
    /// When the signal cannot be listened to.
    pub(super) fn follow(
        mut self,
        control: Control,
        book: Arc<Book>,
        mut live: watch::Receiver<Arc<Live>>,
        drain: Drain,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (stored, mut of_stores) = watch::channel(self.stored());
        let seen = live.clone();
        let fetching = async move {
            let mut tick = time::interval(LOOK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut fetched, mut due) = (BTreeSet::new(), Instant::now());
            loop {
                let at_once = select! {
                    _ = tick.tick() => false,
                    _ = hangup.recv() => true,
                };
                let wanted = wanted(&seen.borrow().clone(), book.shelf().rules());
                if at_once || wanted != fetched || due <= Instant::now() {
                    let all_good = self.fetch(&wanted).await;
                    due = Instant::now() + if all_good { PERIOD } else { RETRY };
                    fetched = wanted;
                    stored.send_replace(self.stored());
                }
            }
        };
        let telling = async move {
            let mut told = all(&live.borrow_and_update().clone(), &of_stores.borrow_and_update());
            loop {
                let changed = select! {
                    changed = live.changed() => changed,
                    changed = of_stores.changed() => changed,
                };
                let now = all(&live.borrow_and_update().clone(), &of_stores.borrow_and_update());
                if changed.is_err()
                    || (now != told && control.tell(Input::Certificates(now.clone())).await.is_err())
                {
                    return;
                }
                told = now;
            }
        };
        Ok(async move {
            select! {
                () = drain.started() => {}
                () = telling => {}
                never = fetching => never,
            }
        })
    }

    /// Fetches what is wanted, and forgets what is not. What cannot be had stays as it was. Whether all could.
    async fn fetch(&mut self, wanted: &BTreeSet<InStore>) -> bool {
        let before = self.kept.clone();
        self.kept.retain(|from, _| wanted.contains(from));
        self.problems.retain(|from, _| wanted.contains(from));
        let mut by_provider: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
        for from in wanted {
            by_provider
                .entry(&from.provider)
                .or_default()
                .extend([&from.cert_secret_id, &from.key_secret_id]);
        }
        let mut told = BTreeMap::new();
        for (provider, ids) in by_provider {
            let ids: Vec<_> = ids.into_iter().cloned().collect();
            let answer = match self.callers.get(provider) {
                Some(caller) => caller.secrets(&ids).await.map_err(|error| error.to_string()),
                None => Err("the provider is not configured".to_owned()),
            };
            told.insert(provider, answer);
        }
        for from in wanted {
            let got = told.get(from.provider.as_str());
            let text = |id: &str| match got {
                Some(Ok(secrets)) => match secrets.get(id) {
                    Some(Ok(secret)) => Ok(Bytes::from(secret.expose().to_owned())),
                    Some(Err(error)) => Err(error.to_string()),
                    None => Err("it was not told".to_owned()),
                },
                Some(Err(error)) => Err(error.clone()),
                None => Err("it was not asked for".to_owned()),
            };
            let certificate = text(&from.cert_secret_id)
                .and_then(|chain| Ok(Certificate { chain, key: text(&from.key_secret_id)? }))
                .and_then(|certificate| certificate.check().map(|()| certificate));
            self.take(from, certificate);
        }
        if self.kept != before
            && let Err(error) = self.keep()
        {
            tracing::warn!(%error, "certificates cannot be kept; the next start has to fetch them first");
        }
        self.problems.is_empty()
    }

    fn take(&mut self, from: &InStore, certificate: Result<Certificate, String>) {
        let (provider, secret) = (&from.provider, &from.cert_secret_id);
        match certificate {
            Ok(certificate) => {
                if self.kept.get(from) != Some(&certificate) {
                    tracing::info!(provider, secret, "certificate was fetched");
                }
                self.problems.remove(from);
                self.kept.insert(from.clone(), certificate);
            }
            Err(problem) => {
                if self.problems.get(from) != Some(&problem) {
                    let stays = self.kept.contains_key(from);
                    tracing::warn!(provider, secret, problem, stays, "certificate cannot be had");
                }
                self.problems.insert(from.clone(), problem);
            }
        }
    }

    /// For nobody else to read: there are keys in it.
    fn keep(&self) -> io::Result<()> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let all = self.kept.iter().map(|(from, told)| Kept {
            from: from.clone(),
            chain: text(&told.chain),
            key: text(&told.key),
        });
        let bytes = serde_json::to_vec(&all.collect::<Vec<_>>())?;
        replace_private(&self.file, &bytes)
    }
}

fn all(live: &Live, stored: &[Certificate]) -> Vec<wire::Certificate> {
    let all = live.certificates.iter().chain(stored);
    all.map(|told| wire::Certificate { chain: told.chain.clone(), key: told.key.clone() }).collect()
}

/// What the configuration and the rules name.
fn wanted(live: &Live, rules: &Rules) -> BTreeSet<InStore> {
    let of_rules = rules.iter().flat_map(|rule| {
        rule.certificates.iter().map(|(cert, key)| InStore {
            provider: rule.provider.clone(),
            cert_secret_id: cert.clone(),
            key_secret_id: key.clone(),
        })
    });
    live.in_store.iter().cloned().chain(of_rules).collect()
}
