//! A disk that keeps after a crash what was synced, and of everything else as much as it likes.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::super::disk::{Disk, LogFile};

/// What becomes of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The step fails half done, and so does everything after it until the reboot.
    Crash,
    /// Only this step fails, half done.
    Fail,
}

/// Shared with the files that it opened.
#[derive(Clone, Default)]
pub(super) struct Model(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What the system shows: names, and the files that they are of.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    files: Vec<File>,
    steps: usize,
    doom: Option<(usize, Fate)>,
    crashed: bool,
    full: bool,
    random: fastrand::Rng,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

impl Model {
    pub(super) fn doomed(step: usize, fate: Fate, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State { doom: Some((step, fate)), random, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> usize {
        self.state().steps
    }

    pub(super) fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    pub(super) fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// What was not durable may be there or not, files in any mixture of old and new.
    pub(super) fn reboot(&self) {
        let mut state = self.state();
        let State { names, durable_names, files, random, .. } = &mut *state;
        for file in files {
            let durable = file.durable.len();
            // Blocks are small here. A block that was not synced is there, or zero, or not there at all.
            if file.bytes.len() > durable && file.bytes.starts_with(&file.durable) {
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
        if random.bool() {
            names.clone_from(durable_names);
        } else {
            durable_names.clone_from(names);
        }
        (state.crashed, state.doom, state.full) = (false, None, false);
    }
}

impl State {
    /// Whether this step is the one that fails. It may have had any part of its effect.
    fn step(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(io::Error::other("crashed"));
        }
        let doom = self.doom.filter(|(step, _)| *step == self.steps);
        self.steps += 1;
        self.crashed = matches!(doom, Some((_, Fate::Crash)));
        Ok(doom.is_some())
    }

    fn simple(&mut self, effect: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let fails = self.step()?;
        if !fails || self.random.bool() {
            effect(self)?;
        }
        if fails { Err(io::Error::other("failed")) } else { Ok(()) }
    }

    fn write(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let fails = self.step()?;
        let part = if fails || self.full { self.random.usize(0..=bytes.len()) } else { bytes.len() };
        self.files[file].bytes.extend_from_slice(&bytes[..part]);
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if fails { Err(io::Error::other("failed")) } else { Ok(()) }
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        self.simple(|state| {
            let file = &mut state.files[file];
            file.durable.clone_from(&file.bytes);
            Ok(())
        })
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Model {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let file = state.find(path)?;
        Ok(state.files[file].bytes.clone())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.simple(|state| {
            state.files.push(File::default());
            state.names.insert(path.to_owned(), state.files.len() - 1);
            Ok(())
        })?;
        let file = state.find(path)?;
        state.write(file, bytes)?;
        state.sync(file)
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.simple(|_| Ok(()))?;
        let file = state.find(path)?;
        Ok(Box::new(Open { model: self.clone(), file }))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            let file = state.find(from)?;
            state.names.remove(from);
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            let file = state.find(from)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.state().simple(|state| {
            state.durable_names = state.names.clone();
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
        self.model.state().write(self.file, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.model.state().sync(self.file)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.model.state().simple(|state| {
            state.files[self.file].bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        })
    }
}
