//! Folders that are written, half written, wrong and taken away.

use std::{fs, path::Path};

use common::drain::Drain;
use tempfile::TempDir;

use super::*;
use crate::{
    secret::KeyHash,
    source::standing::{ConfigState, Standing},
    store::Store,
};

const FLAG: &str = r#"{"feature":"f","kind":"boolean","state":"on","offVariation":"false","variations":[{"identifier":"true","value":"true"},{"identifier":"false","value":"false"}],"defaultServe":{"variation":"VARIATION"},"variationToTargetMap":[{"variation":"true","targetSegments":[GROUPS]}]}"#;

struct Place {
    folder: TempDir,
    directory: Directory,
    now: Instant,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink {
            look: Arc::default(),
            store: Arc::new(Store::default()),
            standing: Arc::new(Standing::new(1)),
            drain: Drain::default(),
        };
        let directory = Directory::new(folder.path().to_owned(), sink, Arc::default());
        Self { folder, directory, now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another file each time, so that no clock is too coarse to tell.
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }

    fn layout(&self, id: &str, flags: &str, groups: &str) {
        let key = KeyHash::of(&format!("{id}-key"));
        self.write(&format!("env-{id}/auth_config.json"), &format!("[\"{key}\"]"));
        self.write(&format!("env-{id}/segments.json"), groups);
        self.write(&format!("env-{id}/feature_config.json"), flags);
    }

    /// Reads the folder so much later.
    fn read(&mut self, later: Duration) -> Vec<String> {
        self.now += later;
        self.directory.read(self.now);
        let state = self.directory.sink.standing.now();
        assert_eq!(state.problems.is_empty(), state.config.state == ConfigState::Synced);
        state.problems.into_keys().collect()
    }

    /// What the flag `f` of this environment serves by default.
    fn value(&self, id: &str) -> Option<String> {
        let served = self.directory.sink.store.environment(id)?;
        let flags = served.as_told().flags;
        flags.into_iter().find(|flag| flag.feature == "f")?.default_serve.variation
    }
}

fn flags(variation: &str, groups: &str) -> String {
    format!("[{}]", FLAG.replace("VARIATION", variation).replace("GROUPS", groups))
}

const SOON: Duration = Duration::from_millis(200);

#[test]
fn what_is_wrong_is_refused_and_what_was_stays() {
    let mut place = Place::new();
    place.layout("a", &flags("true", ""), "[]");
    place.write("b.yaml", "flags: { f: { default: true } }");
    assert!(place.read(SOON).is_empty());
    assert_eq!((place.value("a").as_deref(), place.value("b").as_deref()), (Some("true"), Some("true")));
    place.layout("a", &flags("none-of-its-variations", ""), "[]");
    place.write("b.yaml", "flags: { f: { default: false } }");
    assert_eq!(place.read(SOON), ["a"], "one that is wrong does not hold up the others");
    assert_eq!((place.value("a").as_deref(), place.value("b").as_deref()), (Some("true"), Some("false")));
    assert_eq!(place.read(SOON), ["a"], "it stays told as long as it is so");
    let whole = flags("false", "");
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        place.layout("a", whole.get(..cut).unwrap(), "[]");
        assert_eq!(place.read(SOON), ["env-a"]);
        assert_eq!(place.value("a").as_deref(), Some("true"), "half a file is none");
    }
    place.layout("a", &whole, "[]");
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.value("a").as_deref(), Some("false"));
}

#[test]
fn flags_wait_for_their_groups_but_not_for_ever() {
    let mut place = Place::new();
    place.layout("a", &flags("true", ""), "[]");
    place.read(SOON);
    // The flags are written first, and the groups that they name a moment later.
    place.layout("a", &flags("false", "\"g\""), "[]");
    assert_eq!(place.read(SOON), ["a"]);
    assert_eq!(place.value("a").as_deref(), Some("true"));
    place.write("env-a/segments.json", r#"[{"identifier":"g"}]"#);
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.value("a").as_deref(), Some("false"));
    place.layout("a", &flags("true", "\"gone\""), "[]");
    assert_eq!(place.read(SOON), ["a"]);
    assert!(place.read(TORN).is_empty(), "whoever means it gets it");
    assert_eq!(place.value("a").as_deref(), Some("true"));
}

#[test]
fn who_is_away_for_a_moment_is_not_gone() {
    let mut place = Place::new();
    place.layout("a", &flags("true", ""), "[]");
    place.layout("b", &flags("true", ""), "[]");
    place.read(SOON);
    fs::rename(place.path("env-a"), place.path(".away")).unwrap();
    assert!(place.read(SOON).is_empty());
    assert!(place.value("a").is_some());
    fs::rename(place.path(".away"), place.path("env-a")).unwrap();
    place.read(AWAY);
    assert!(place.value("a").is_some(), "it came back in time");
    fs::remove_dir_all(place.path("env-a")).unwrap();
    place.read(SOON);
    place.read(AWAY);
    assert!(place.value("a").is_none() && place.value("b").is_some());
    assert!(place.directory.sink.store.opened_by(&KeyHash::of("a-key")).is_none());
    fs::remove_dir_all(place.path("env-b")).unwrap();
    assert_eq!(place.read(AWAY).len(), 1, "a folder with nothing in it is not mounted, or being written");
    assert!(place.value("b").is_some());
}

#[test]
fn one_environment_has_one_place() {
    let mut place = Place::new();
    place.write("a.yaml", "flags: { f: { default: true } }");
    place.write("b.yaml", "environment: a\nflags: { f: { default: false } }");
    assert_eq!(place.read(SOON), ["b.yaml"]);
    assert_eq!(place.value("a").as_deref(), Some("true"));
    fs::remove_file(place.path("a.yaml")).unwrap();
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.value("a").as_deref(), Some("false"), "now it is its turn");
    place.write("c.yaml", "keys: [k]\nflags: { f: {} }");
    place.write("d.yaml", "keys: [k]\nflags: { f: {} }");
    assert_eq!(place.read(SOON), ["d"], "and one key opens one environment");
    assert!(place.value("d").is_none());
}

#[test]
fn a_file_that_nobody_can_read_may_be_any_environment() {
    let mut place = Place::new();
    let kept = crate::source::readable::read(
        "x",
        "environment: kept\nflags: { f: {} }",
        crate::source::readable::Format::Yaml,
    );
    place.directory.sink.store.apply(vec![Update::Environment(kept.unwrap())]);
    place.write("prod.yaml", "environment: kept\nflags: [");
    for _ in 0..3 {
        assert_eq!(place.read(AWAY), ["prod.yaml"]);
    }
    assert!(place.value("kept").is_some(), "what was served before the restart stays");
    place.write("prod.yaml", "environment: other\nflags: { f: {} }");
    place.read(SOON);
    place.read(AWAY);
    assert!(place.value("kept").is_none() && place.value("other").is_some());
}

#[test]
fn a_mounted_map_is_swapped_as_a_whole() {
    use std::os::unix::fs::symlink;
    let mut place = Place::new();
    // As clusters mount them: the files are links through one link, which is swapped.
    place.write("..1/a.yaml", "flags: { f: { default: true } }");
    place.write("..2/a.yaml", "flags: { f: { default: false } }");
    symlink("..1", place.path("..data")).unwrap();
    symlink("..data/a.yaml", place.path("a.yaml")).unwrap();
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.value("a").as_deref(), Some("true"));
    symlink("..2", place.path("..data_tmp")).unwrap();
    fs::rename(place.path("..data_tmp"), place.path("..data")).unwrap();
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.value("a").as_deref(), Some("false"));
}

#[test]
fn what_is_not_ours_is_passed_over() {
    let mut place = Place::new();
    place.write("README.md", "{");
    place.write("..data/x.yaml", "[");
    place.write(".hidden.yaml", "[");
    place.write("notes/x.yaml", "[");
    place.write("a.json", r#"{"flags":{"f":{}}}"#);
    assert!(place.read(SOON).is_empty());
    assert_eq!(place.directory.sink.store.world().environments.len(), 1);
}

#[tokio::test]
async fn a_change_is_heard_of_as_it_happens() {
    let place = Place::new();
    place.layout("a", &flags("true", ""), "[]");
    let Place { folder, mut directory, .. } = place;
    directory.read(Instant::now());
    let (store, drain) = (Arc::clone(&directory.sink.store), directory.sink.drain.clone());
    let standing = Arc::clone(&directory.sink.standing);
    let mut listener = store.hub.listen(&Arc::from("a"), Duration::from_secs(u64::MAX));
    listener.woken().await;
    drain.spawn(directory.run(drain.clone()));
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    while standing.now().stream.state != StreamState::Connected {
        tokio::task::yield_now().await;
    }
    write(&folder.path().join("env-a/feature_config.json"), &flags("false", ""));
    // Well before the folder would be looked through anyway, but for a machine that is very slow.
    time::timeout(Duration::from_secs(60), listener.woken()).await.unwrap();
    assert_eq!(&*listener.hear().unwrap().change.identifier, "f");
    drain.ask();
    drain.idle().await;
}
