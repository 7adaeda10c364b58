//! A folder of environments, watched: read whole, refused or taken environment by environment, and read again when
//! something changes.

mod scan;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time};

pub use self::scan::{Found, Scanner};
use self::watch::Watch;
use super::{Sink, standing::StreamState};
use crate::{api::now, meters::Meters, ruleset::Problem, shape::Environment, store::Update};

/// How long it must be quiet before the folder is read.
const QUIET: Duration = Duration::from_millis(100);
/// How often the folder is looked through although nothing was heard.
const LOOK: Duration = Duration::from_secs(10);
/// How long an environment that names groups which are not there is taken for one whose files are not all written yet.
const TORN: Duration = Duration::from_secs(5);
/// How long an environment must be away before it is gone: whoever replaces a folder takes it away for a moment.
const AWAY: Duration = Duration::from_secs(2);

/// The folder, and what was read of it.
pub(crate) struct Directory {
    folder: PathBuf,
    sink: Sink,
    meters: Arc<Meters>,
    scanner: Scanner,
    /// Environments that are served and were not found, since when.
    away: BTreeMap<String, Instant>,
    /// Environments that are not all written yet, since when.
    torn: BTreeMap<String, Instant>,
    problems: BTreeMap<String, Vec<String>>,
    /// What is there at the start is not being written just then.
    is_first: bool,
}

impl Directory {
    pub(crate) fn new(folder: PathBuf, sink: Sink, meters: Arc<Meters>) -> Self {
        let scanner = Scanner::new(folder.clone());
        Self {
            folder,
            sink,
            meters,
            scanner,
            away: BTreeMap::new(),
            torn: BTreeMap::new(),
            problems: BTreeMap::new(),
            is_first: true,
        }
    }

    /// Watches the folder until the drain starts.
    pub(crate) async fn run(mut self, drain: common::drain::Drain) {
        let mut watch = Watch::new(&self.folder);
        watch.look_at(self.scanner.folders());
        let state = if watch.hears() { StreamState::Connected } else { StreamState::Disconnected };
        self.sink.standing.stream(state, now_ms());
        loop {
            let is_calm = self.away.is_empty() && self.torn.is_empty();
            let patience = if is_calm { LOOK } else { AWAY };
            tokio::select! {
                () = drain.started() => return,
                () = watch.heard(QUIET) => {}
                () = time::sleep(patience) => {}
            }
            let read = spawn_blocking(move || {
                self.read(Instant::now());
                self
            });
            self = match read.await {
                Ok(own) => own,
                Err(error) => {
                    tracing::error!(%error, "the folder is no longer read");
                    return drain.ask();
                }
            };
            watch.look_at(self.scanner.folders());
        }
    }

    /// Reads what changed, and tells the store.
    pub(crate) fn read(&mut self, now: Instant) {
        let found = match self.scanner.scan() {
            Ok(found) => found,
            Err(error) => {
                let told = vec![format!("{error:#}")];
                return self.tell(BTreeMap::from([(self.folder.display().to_string(), told)]));
            }
        };
        let Found { changed, mut problems, mut present, is_unsure } = found;
        self.torn.retain(|id, _| changed.iter().any(|told| told.id == *id));
        for environment in &changed {
            if self.is_torn(environment, now) {
                let told = dangling(environment).iter().map(ToString::to_string).collect();
                problems.insert(environment.id.clone(), told);
            }
        }
        self.is_first = false;
        let torn: BTreeSet<String> = problems.keys().cloned().collect();
        let mut updates = Vec::new();
        for environment in changed.into_iter().filter(|told| !torn.contains(&told.id)) {
            updates.push(Update::Environment(environment));
        }
        self.keep_those_away(&mut present, is_unsure, now);
        updates.insert(0, Update::Only(present));
        let applied = self.sink.store.apply(updates);
        for refused in applied.refused {
            self.scanner.forget(&refused.environment);
            let told = refused.problems.iter().map(ToString::to_string).collect();
            problems.insert(refused.environment, told);
        }
        for id in &torn {
            self.scanner.forget(id);
        }
        for (id, changes) in &applied.changes {
            tracing::info!(environment = &**id, changes = changes.len(), "the environment changed");
        }
        self.tell(problems);
    }

    /// Whether it names groups that are not there, did not before, and may have been written only in part.
    fn is_torn(&mut self, told: &Environment, now: Instant) -> bool {
        let missing = dangling(told);
        let served = self.sink.store.environment(&told.id);
        let before = served.map(|served| dangling(&served.as_told()));
        let is_new = before.is_some_and(|before| missing.iter().any(|problem| !before.contains(problem)));
        if self.is_first || !is_new {
            self.torn.remove(&told.id);
            return false;
        }
        let since = *self.torn.entry(told.id.clone()).or_insert(now);
        now.duration_since(since) < TORN
    }

    fn keep_those_away(&mut self, present: &mut BTreeSet<String>, is_unsure: bool, now: Instant) {
        let served: Vec<String> =
            self.sink.store.world().environments.keys().map(ToString::to_string).collect();
        if is_unsure {
            present.extend(served);
            return;
        }
        self.away.retain(|id, _| !present.contains(id));
        for id in served {
            if !present.contains(&id) {
                let since = *self.away.entry(id.clone()).or_insert(now);
                if now.duration_since(since) < AWAY {
                    present.insert(id);
                } else {
                    self.away.remove(&id);
                }
            }
        }
    }

    fn tell(&mut self, problems: BTreeMap<String, Vec<String>>) {
        if problems != self.problems {
            for (place, told) in &problems {
                let why = told.join("; ");
                tracing::warn!(place, why, "refused: what is served stays as it was");
                self.meters.refused_loads.inc();
            }
            if problems.is_empty() {
                tracing::info!("the folder is in order again");
            }
        }
        self.problems.clone_from(&problems);
        self.sink.standing.read(problems, now_ms());
    }
}

/// Groups that are named and not there.
fn dangling(told: &Environment) -> Vec<Problem> {
    let there: BTreeSet<&str> = told.segments.iter().map(|segment| segment.identifier.as_str()).collect();
    let mut problems = Vec::new();
    for flag in &told.flags {
        let maps = flag.variation_to_target_map.iter().flat_map(|map| &map.target_segments);
        let clauses = flag.rules.iter().flat_map(|rule| &rule.clauses);
        let clauses = clauses.filter(|clause| clause.op == "segmentMatch").flat_map(|clause| &clause.values);
        for group in maps.chain(clauses).filter(|group| !there.contains(group.as_str())) {
            problems
                .push(Problem::flag(&flag.feature, format!("it names group {group}, which is not there")));
        }
    }
    problems
}

fn now_ms() -> u64 {
    u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
