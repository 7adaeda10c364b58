//! The rules as they are written, by hand and through the API: checked together, taken up, changed and kept.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use common::drain::Drain;
use tokio::{sync::Mutex, time};

use super::{
    Control, Input,
    folder::{self, Stamp},
};
use crate::{
    config::Config,
    rule::{Home, Problem, RuleFile, RuleId, Shelf, Surroundings, Written},
};

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Book {
    by_hand: PathBuf,
    given: PathBuf,
    here: String,
    around: Surroundings,
    /// One change after the other: what is checked is what is written.
    stamps: Mutex<Stamps>,
    shelf: RwLock<Arc<Shelf>>,
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
        let given = given(&config.state_dir);
        let book = Self {
            by_hand: config.rules_dir.clone(),
            given,
            here: config.access_point_id.clone(),
            around,
            stamps: Mutex::new(Stamps { taken: Default::default(), seen: Default::default() }),
            shelf: RwLock::default(),
        };
        // Looked at before they are read: a change in between is seen next time.
        let stamps = book.stamp().unwrap_or_default();
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
        let mut stamps = self.stamps.lock().await;
        let Ok(now) = self.stamp() else { return };
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
        let mut stamps = self.stamps.lock().await;
        let (all, _) = self.read().map_err(Refused::Others)?;
        let (id, all) = changed(all, &change)?;
        let shelf = Shelf::sort(all, &self.here, &self.around).map_err(Refused::Problems)?;
        match &change {
            Change::Create(rule) | Change::Replace(_, rule) => folder::keep(&self.given, &id, rule),
            Change::Remove(_) => folder::remove(&self.given, &id),
        }
        .map_err(Refused::Disk)?;
        // The folder by hand may have changed since it was read: then it is read again.
        if let ([by_hand, _], Ok([now, given])) = (&stamps.taken, self.stamp())
            && *by_hand == now
        {
            stamps.taken = [now, given];
        }
        let file = folder::file(&self.given, &id).display().to_string();
        self.take_up(control, shelf.kept_in(&id, file)).await;
        Ok(id)
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

    fn stamp(&self) -> io::Result<[Stamp; 2]> {
        Ok([folder::stamp(&self.by_hand)?, folder::stamp(&self.given)?])
    }

    fn read(&self) -> Result<(Vec<Written>, Shelf), Vec<Problem>> {
        read(&self.by_hand, &self.given, &self.here, &self.around)
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
    match Shelf::sort(all.clone(), here, around) {
        Ok(shelf) if problems.is_empty() => Ok((all, shelf)),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
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
