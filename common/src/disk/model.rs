//! A disk that keeps after a power cut what was synced, and of everything else as much as it likes, in any order.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "only tests stand on it")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Disk, LogFile, ReadAt};

/// What becomes of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The step fails half done, and so does everything after it until the reboot: the power is cut.
    Cut,
    /// Only this step and so many after it fail, half done.
    Fail(usize),
}

/// Shared with the files that it opened.
#[derive(Clone, Default)]
pub struct Model(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    /// What happened to names since the folder was synced, in order.
    renames: Vec<BTreeMap<PathBuf, usize>>,
    durable_names: BTreeMap<PathBuf, usize>,
    files: Vec<File>,
    steps: usize,
    doom: Option<(usize, Fate)>,
    is_cut: bool,
    /// What all files together may take.
    most_bytes: Option<usize>,
    removed: usize,
    random: fastrand::Rng,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

impl Model {
    pub fn doomed(step: usize, fate: Fate, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State { doom: Some((step, fate)), random, ..State::default() })))
    }

    /// The same disk once more, healthy.
    pub fn copy(other: &Self) -> Self {
        let mut state = other.state().clone();
        state.doom = None;
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next cut comes after so many steps.
    pub fn doom(&self, after: usize) {
        let mut state = self.state();
        state.doom = Some((state.steps + after, Fate::Cut));
    }

    /// The step after so many more fails, and so many after it.
    pub fn fail(&self, after: usize, more: usize) {
        let mut state = self.state();
        state.doom = Some((state.steps + after, Fate::Fail(more)));
    }

    pub fn steps(&self) -> usize {
        self.state().steps
    }

    pub fn removed(&self) -> usize {
        self.state().removed
    }

    /// Whether the power is cut.
    pub fn is_cut(&self) -> bool {
        self.state().is_cut
    }

    /// Whether there is no room for anything more.
    pub fn fill(&self, full: bool) {
        self.state().most_bytes = full.then_some(0);
    }

    /// All files together take no more than this from now on.
    pub fn limit(&self, most_bytes: usize) {
        self.state().most_bytes = Some(most_bytes);
    }

    /// What was not durable may be there or not: blocks of files in any mixture, changes of names up to any of them.
    pub fn reboot(&self) {
        let mut state = self.state();
        let State { names, renames, durable_names, files, random, .. } = &mut *state;
        for file in files {
            let durable = file.durable.len();
            if file.bytes.len() >= durable && file.bytes.starts_with(&file.durable) {
                let kept = random.usize(durable..=file.bytes.len());
                file.bytes.truncate(kept);
                for block in file.bytes[durable..].chunks_mut(8).filter(|_| random.u8(..) < 64) {
                    block.fill(0);
                }
            } else if random.bool() {
                file.bytes.clone_from(&file.durable);
            }
            file.durable.clone_from(&file.bytes);
        }
        let kept = random.usize(0..=renames.len());
        *names = if kept == 0 { durable_names.clone() } else { renames[kept - 1].clone() };
        durable_names.clone_from(names);
        renames.clear();
        (state.is_cut, state.doom) = (false, None);
    }
}

impl State {
    /// Whether this step is the one that fails. It may have had any part of its effect.
    fn step(&mut self) -> io::Result<bool> {
        if self.is_cut {
            return Err(io::Error::other("no power"));
        }
        let is_now = |(step, fate): &(usize, Fate)| match fate {
            Fate::Cut => *step == self.steps,
            Fate::Fail(more) => (*step..=step + more).contains(&self.steps),
        };
        let doom = self.doom.filter(is_now);
        self.steps += 1;
        self.is_cut = matches!(doom, Some((_, Fate::Cut)));
        Ok(doom.is_some())
    }

    fn simple(&mut self, effect: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let fails = self.step()?;
        if !fails || self.random.bool() {
            effect(self)?;
        }
        if fails { Err(io::Error::other("failed")) } else { Ok(()) }
    }

    fn name(&mut self, change: impl FnOnce(&mut BTreeMap<PathBuf, usize>)) {
        change(&mut self.names);
        self.renames.push(self.names.clone());
    }

    /// How much more there is room for.
    fn room(&self) -> usize {
        let taken = || self.names.values().map(|file| self.files[*file].bytes.len()).sum();
        self.most_bytes.map_or(usize::MAX, |most| most.saturating_sub(taken()))
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Model {
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let of_folder = state.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
        Ok(of_folder.map(|name| name.display().to_string()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let file = state.find(path)?;
        Ok(state.files[file].bytes.clone())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let file = state.find(path)?;
        Ok(Arc::new(Open { model: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.simple(|state| {
            if state.room() == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.files.push(File::default());
            let file = state.files.len() - 1;
            state.name(|names| {
                names.insert(path.to_owned(), file);
            });
            Ok(())
        })?;
        let file = state.find(path)?;
        Ok(Box::new(Open { model: self.clone(), file }))
    }

    fn extend(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let file = state.find(path)?;
        Ok(Box::new(Open { model: self.clone(), file }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            let file = state.find(from)?;
            if state.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.name(|names| {
                names.insert(to.to_owned(), file);
            });
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            let file = state.find(from)?;
            state.name(|names| {
                names.remove(from);
                names.insert(to.to_owned(), file);
            });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            state.find(path)?;
            state.removed += 1;
            state.name(|names| {
                names.remove(path);
            });
            Ok(())
        })
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            state.durable_names = state.names.clone();
            state.renames.clear();
            Ok(())
        })
    }
}

struct Open {
    model: Model,
    file: usize,
}

impl LogFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.model.state();
        let fails = state.step()?;
        let room = state.room();
        let part = if fails { state.random.usize(0..=bytes.len()) } else { bytes.len() }.min(room);
        state.files[self.file].bytes.extend_from_slice(&bytes[..part]);
        if bytes.len() > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if fails { Err(io::Error::other("failed")) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.model.state().simple(|state| {
            let file = &mut state.files[self.file];
            file.durable.clone_from(&file.bytes);
            Ok(())
        })
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.model.state().simple(|state| {
            state.files[self.file].bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        })
    }
}

impl ReadAt for Open {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.model.state();
        state.simple(|_| Ok(()))?;
        let at = usize::try_from(at).unwrap();
        let bytes = state.files[self.file].bytes.get(at..at + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.model.state().files[self.file].bytes.len() as u64)
    }
}
