//! Containers, by the client that users have.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{program::run, wait::wait_for};

/// A file of what is shipped, by the beginning and the end of its name.
///
/// # Panics
/// When it was not built.
pub fn shipped(beginning: &str, end: &str) -> PathBuf {
    let folder = env::var_os("WAYSIDE_DIST").expect("WAYSIDE_DIST; `cargo xtask test --packages` sets it");
    let files = fs::read_dir(&folder).expect("the folder of what is shipped").flatten();
    let fits = |name: &str| name.starts_with(beginning) && name.ends_with(end);
    let file = files
        .map(|file| file.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(fits));
    file.unwrap_or_else(|| panic!("{beginning}…{end} in {}", folder.display()))
}

/// The image of this name, loaded from its archive.
///
/// # Panics
/// When it cannot be.
pub fn load(name: &str) -> String {
    let archive = shipped(&format!("{name}-"), ".image.tar");
    run(Command::new("docker").args(["load", "--quiet", "--input"]).arg(archive));
    format!("wayside/{name}:latest")
}

/// Answers everything; perl is part of the least Debian.
const SERVICE: &str = r#"FROM wayside-test-debian:12
CMD ["perl", "-MIO::Socket::INET", "-e", "$SIG{TERM} = sub { exit }; $l = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1); while ($c = $l->accept) { while (<$c>) { last if /^\r?$/ } print $c qq(HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello); close $c }"]
"#;

/// An image whose program answers every request at port 8080 with `hello`.
///
/// # Panics
/// When it cannot be built.
pub fn image_of_service() -> String {
    let name = "wayside-test-service";
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", name, "-"]).env("DOCKER_BUILDKIT", "0");
    let mut build = build.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("docker");
    build.stdin.take().expect("a pipe").write_all(SERVICE.as_bytes()).expect("it reads");
    assert!(build.wait().expect("it ends").success());
    name.to_owned()
}

/// An image of a program of this machine and the libraries that it loads, which runs it with these words.
///
/// # Panics
/// When it is not installed, or the image cannot be built.
pub fn image_of_program(program: &str, words: &[&str]) -> String {
    let path = run(Command::new("which").arg(program)).trim().to_owned();
    let libraries = run(Command::new("ldd").arg(&path));
    // `NAME => PATH (ADDRESS)`, and the loader without a name.
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("image.tar");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--dereference", "--directory=/", "--file"]).arg(&archive);
    run(tar.args([path.as_str()].into_iter().chain(libraries).map(|path| path.trim_start_matches('/'))));
    let name = format!("wayside-test-{program}");
    let all: Vec<_> = [path.as_str()].into_iter().chain(words.iter().copied()).collect();
    let start = format!("CMD {}", serde_json::to_string(&all).expect("words"));
    run(Command::new("docker").args(["import", "--change", &start]).arg(&archive).arg(&name));
    name
}

/// A container that is removed when it is dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
}

impl Container {
    /// `docker run --detach` with these words.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run(words: &[&str]) -> Self {
        let id = run(Command::new("docker").args(["run", "--detach"]).args(words));
        Self { id: id.trim().to_owned() }
    }

    /// `docker create` with these words.
    ///
    /// # Panics
    /// When it is not made.
    pub fn create(words: &[&str]) -> Self {
        let id = run(Command::new("docker").arg("create").args(words));
        Self { id: id.trim().to_owned() }
    }

    /// By what the engine knows it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it said so far.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub fn logs(&self) -> String {
        let output = Command::new("docker").args(["logs", &self.id]).output().expect("docker");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits for a line that contains all of these.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_line(&self, parts: &[&str]) -> String {
        let found = || {
            let logs = self.logs();
            logs.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        };
        wait_for(format!("{parts:?} in the log"), found)
    }

    /// A part of what `docker inspect` says.
    ///
    /// # Panics
    /// When it is gone.
    pub fn inspect(&self, part: &str) -> String {
        run(Command::new("docker").args(["inspect", "--format", part, &self.id])).trim().to_owned()
    }

    /// The line of `docker ps` about it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn ps(&self) -> String {
        let id = format!("id={}", self.id);
        let all = run(Command::new("docker").args(["ps", "--no-trunc", "--filter", &id]));
        all.lines().nth(1).expect("a container that runs").to_owned()
    }

    /// Waits until its health check is content.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_until_healthy(&self) {
        wait_for("the container to be healthy", || {
            (self.inspect("{{.State.Health.Status}}") == "healthy").then_some(())
        });
    }

    /// A program in it, to its end.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub fn exec(&self, words: &[&str]) -> Output {
        Command::new("docker").args(["exec", &self.id]).args(words).output().expect("docker")
    }

    /// What a program in it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn read(&self, words: &[&str]) -> String {
        run(Command::new("docker").args(["exec", &self.id]).args(words))
    }

    /// A line of shell in it, which has to end well. Returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn shell(&self, line: &str) -> String {
        self.read(&["sh", "-c", line])
    }

    /// Whether a line of shell in it ends well.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub fn does(&self, line: &str) -> bool {
        self.exec(&["sh", "-c", line]).status.success()
    }

    /// Puts a file into it.
    ///
    /// # Panics
    /// When that fails.
    pub fn put(&self, file: &Path, to: &str) {
        run(Command::new("docker").arg("cp").arg(file).arg(format!("{}:{to}", self.id)));
    }

    /// A signal to its first process.
    ///
    /// # Panics
    /// When that fails.
    pub fn signal(&self, signal: &str) {
        run(Command::new("docker").args(["kill", "--signal", signal, &self.id]));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        Command::new("docker").args(["rm", "--force", "--volumes", &self.id]).output().ok();
    }
}
