//! The rules as they are written, by hand and through the API: checked together, taken up, changed and kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use common::{disk::replace, drain::Drain};
use serde_json::Value;
use tokio::{sync::Mutex, time};

use super::{
    Control, Input,
    folder::{self, Stamp},
};
use crate::{
    config::Config,
    rule::{Home, Problem, RuleFile, RuleId, Shelf, Surroundings, Written, from_json},
};

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Book {
    sources: Sources,
    here: String,
    around: Surroundings,
    /// One change after the other: what is checked is what is written.
    stamps: Mutex<Stamps>,
    shelf: RwLock<Arc<Shelf>>,
}

/// Where rules are written.
enum Sources {
    /// In a folder by hand, and in one of the API's.
    Own { by_hand: PathBuf, given: PathBuf },
    /// In a shared control plane, of which this is the last that was heard.
    Shared { copy: PathBuf },
}

struct Stamps {
    /// What the folders were like when they were last read.
    taken: [Stamp; 2],
    /// What they were like when they were last looked at: who still writes them is not done.
    seen: [Stamp; 2],
}

/// What may be changed through the API.
#[derive(Clone, Debug)]
pub enum Change {
    /// A rule that is not there yet.
    Create(Box<RuleFile>),
    /// Another in place of the one of this id.
    Replace(RuleId, Box<RuleFile>),
    /// None in its place.
    Remove(RuleId),
}

/// Why a change is not made. Everything is as it was.
#[derive(Debug)]
pub enum Refused {
    /// There is a rule of this name.
    Exists,
    /// There is none of this id.
    Unknown,
    /// It is written in this file, by somebody else.
    ByHand(String),
    /// It is written in the shared control plane.
    Shared,
    /// With it, the rules would have these problems.
    Problems(Vec<Problem>),
    /// They have these without it.
    Others(Vec<Problem>),
    /// It cannot be kept.
    Disk(io::Error),
}

impl Book {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every problem of every rule.
    pub fn open(config: &Config) -> Result<Self, Vec<Problem>> {
        let around = Surroundings {
            providers: config.providers.keys().cloned().collect(),
            tcp_ports: config.tcp_ports.iter(),
        };
        let sources = match config.api_url {
            None => Sources::Own { by_hand: config.rules_dir.clone(), given: given(&config.state_dir) },
            Some(_) => Sources::Shared { copy: copy(&config.state_dir) },
        };
        let book = Self {
            sources,
            here: config.access_point_id.clone(),
            around,
            stamps: Mutex::new(Stamps { taken: Default::default(), seen: Default::default() }),
            shelf: RwLock::default(),
        };
        // Looked at before they are read: a change in between is seen next time.
        let stamps = match &book.sources {
            Sources::Own { by_hand, given } => stamp(by_hand, given).unwrap_or_default(),
            Sources::Shared { .. } => <_>::default(),
        };
        let (_, shelf) = book.read()?;
        book.put(shelf);
        let stamps = Mutex::new(Stamps { taken: stamps.clone(), seen: stamps });
        Ok(Self { stamps, ..book })
    }

    /// As it is now.
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the folders until the stop. Bad rules leave the old ones in force, and are told once.
    pub async fn follow(&self, control: &Control, drain: &Drain) {
        let mut tick = time::interval(LOOK);
        loop {
            tokio::select! {
                () = drain.started() => return,
                _ = tick.tick() => {}
            }
            self.look(control).await;
        }
    }

    async fn look(&self, control: &Control) {
        let Sources::Own { by_hand, given } = &self.sources else { return };
        let mut stamps = self.stamps.lock().await;
        let Ok(now) = stamp(by_hand, given) else { return };
        let settled = stamps.seen == now;
        stamps.seen = now;
        if !settled || stamps.taken == stamps.seen {
            return;
        }
        stamps.taken = stamps.seen.clone();
        match self.read() {
            Ok((_, shelf)) => self.take_up(control, shelf).await,
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    problems = problems.join("; "),
                    "rules cannot be used, the old ones stay in force"
                );
            }
        }
    }

    /// Makes a change: checked with all other rules, kept, then in force. Returns whose it was.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn change(&self, control: &Control, change: Change) -> Result<RuleId, Refused> {
        let Sources::Own { by_hand, given } = &self.sources else { return Err(Refused::Shared) };
        let mut stamps = self.stamps.lock().await;
        let (all, _) = self.read().map_err(Refused::Others)?;
        let (id, all) = changed(all, &change)?;
        let shelf = Shelf::sort(all, &self.here, &self.around).map_err(Refused::Problems)?;
        match &change {
            Change::Create(rule) | Change::Replace(_, rule) => folder::keep(given, &id, rule),
            Change::Remove(_) => folder::remove(given, &id),
        }
        .map_err(Refused::Disk)?;
        // The folder by hand may have changed since it was read: then it is read again.
        if let ([before, _], Ok([now, given])) = (&stamps.taken, stamp(by_hand, given))
            && *before == now
        {
            stamps.taken = [now, given];
        }
        let file = folder::file(given, &id).display().to_string();
        self.take_up(control, shelf.kept_in(&id, file)).await;
        Ok(id)
    }

    /// Takes up what the shared control plane says, once it is kept for a start without it.
    ///
    /// # Errors
    /// Why it cannot be used; the old rules stay in force.
    pub(super) async fn take_shared(&self, control: &Control, told: &[Value]) -> Result<(), Vec<String>> {
        let Sources::Shared { copy } = &self.sources else { return Ok(()) };
        let words = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let _one_after_the_other = self.stamps.lock().await;
        let shelf = shared(told, &self.here, &self.around).map_err(words)?.1;
        replace(copy, &serde_json::to_vec(told).unwrap_or_default())
            .map_err(|error| vec![format!("they cannot be kept: {error}")])?;
        self.take_up(control, shelf).await;
        Ok(())
    }

    async fn take_up(&self, control: &Control, shelf: Shelf) {
        let rules = Box::new(shelf.rules().clone());
        self.put(shelf);
        // It ends only with the daemon.
        control.tell(Input::Rules(rules)).await.ok();
    }

    fn put(&self, shelf: Shelf) {
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shelf);
    }

    fn read(&self) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
        match &self.sources {
            Sources::Own { by_hand, given } => read(by_hand, given, &self.here, &self.around),
            Sources::Shared { copy } => read_copy(copy, &self.here, &self.around),
        }
    }
}

fn stamp(by_hand: &Path, given: &Path) -> io::Result<[Stamp; 2]> {
    Ok([folder::stamp(by_hand)?, folder::stamp(given)?])
}

/// Where the last word of the shared control plane is kept.
pub fn copy(state_dir: &Path) -> PathBuf {
    state_dir.join("control").join("shared-rules.json")
}

/// The last word of the shared control plane, checked; without one there are no rules.
///
/// # Errors
/// Every problem of every rule.
pub fn read_copy(
    copy: &Path,
    here: &str,
    around: &Surroundings,
) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
    let trouble =
        |message: String| vec![Problem { file: copy.display().to_string(), key: String::new(), message }];
    match fs::read(copy) {
        Ok(bytes) => {
            let told: Vec<Value> = serde_json::from_slice(&bytes)
                .map_err(|error| trouble(format!("is not what was written there ({error}): remove it")))?;
            shared(&told, here, around)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(<_>::default()),
        Err(error) => Err(trouble(format!("cannot be read: {error}"))),
    }
}

fn shared(told: &[Value], here: &str, around: &Surroundings) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (at, rule) in told.iter().enumerate() {
        let name = rule.get("name").and_then(Value::as_str);
        let file = name.map_or_else(|| format!("rule {at} of apiURL"), |name| format!("{name} of apiURL"));
        match from_json(&file, rule.clone()) {
            Ok(rule) => all.push(Written { home: Home::Shared, file, rule }),
            Err(problem) => problems.push(problem),
        }
    }
    sorted(all, problems, here, around)
}

fn sorted(
    all: Vec<Written>,
    mut problems: Vec<Problem>,
    here: &str,
    around: &Surroundings,
) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
    match Shelf::sort(all.clone(), here, around) {
        Ok(shelf) if problems.is_empty() => Ok((all, shelf)),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}

/// Where rules are kept that the API was given.
pub fn given(state_dir: &Path) -> PathBuf {
    state_dir.join("rules.d")
}

/// All that is written in both folders, checked together.
///
/// # Errors
/// Every problem of every rule.
pub fn read(
    by_hand: &Path,
    given: &Path,
    here: &str,
    around: &Surroundings,
) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
    let (mut all, mut problems) = folder::read(by_hand, Home::ByHand);
    let (more, trouble) = folder::read(given, Home::Given);
    all.extend(more);
    problems.extend(trouble);
    sorted(all, problems, here, around)
}

/// What would be written then.
fn changed(mut all: Vec<Written>, change: &Change) -> Result<(RuleId, Vec<Written>), Refused> {
    let at = |all: &[Written], id: &RuleId| {
        let found = all.iter().position(|one| RuleId::of(&one.rule.name) == *id);
        let found = found.ok_or(Refused::Unknown)?;
        match all.get(found) {
            Some(one) if one.home == Home::Given => Ok(found),
            Some(one) => Err(Refused::ByHand(one.file.clone())),
            None => Err(Refused::Unknown),
        }
    };
    let new = |rule: &RuleFile| {
        let file = "the rule that was sent".to_owned();
        Written { home: Home::Given, file, rule: rule.clone() }
    };
    match change {
        Change::Create(rule) => {
            let id = RuleId::of(&rule.name);
            if !matches!(at(&all, &id), Err(Refused::Unknown)) {
                return Err(Refused::Exists);
            }
            all.push(new(rule));
            Ok((id, all))
        }
        Change::Replace(id, rule) => {
            let found = at(&all, id)?;
            if let Some(one) = all.get_mut(found) {
                *one = new(rule);
            }
            Ok((id.clone(), all))
        }
        Change::Remove(id) => {
            let found = at(&all, id)?;
            all.remove(found);
            Ok((id.clone(), all))
        }
    }
}
