//! Programs that nobody here wrote.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{peer::listen, wait::wait_for};

/// A program that runs until it is dropped.
pub struct Program {
    child: Child,
    /// Where it keeps its files.
    pub folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// Starts a server and waits until it listens; `command` is given its folder and its address.
    ///
    /// # Panics
    /// When it is not installed or does not listen.
    pub fn start(command: impl FnOnce(&Path, SocketAddr) -> Command) -> Self {
        let folder = TempDir::new().expect("a folder");
        let (listener, address) = listen();
        let mut command = command(folder.path(), address);
        drop(listener);
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let name = command.get_program().to_string_lossy().into_owned();
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; `cargo xtask test` installs it"));
        let program = Self { child, folder, address };
        wait_for(format!("{name} to listen"), || TcpStream::connect(address).ok());
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        self.child.wait().ok();
    }
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// When it is not installed or fails.
pub fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{name}: {error}; `cargo xtask test` installs it"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{printed}\n{complained}", output.status);
    printed
}

/// An nginx in the foreground with one worker, serving 200 with a short text on every path.
///
/// # Panics
/// When it does not come up.
pub fn nginx() -> Program {
    Program::start(|folder, address| {
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 100000000;\n\
             client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
             server {{ listen {address}; location / {{ default_type text/plain; return 200 \"hello from nginx\\n\"; }} }} }}\n",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).expect("a configuration");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
        command
    })
}

/// A program of Debian's PostgreSQL in this folder, as the user of that name: it refuses to run as root.
///
/// # Panics
/// When it is not installed.
pub fn of_postgres(folder: &Path, program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL; `cargo xtask test` installs it");
    let version = versions.flatten().next().expect("a version of PostgreSQL");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    command.arg(version.path().join("bin").join(program)).current_dir(folder);
    command
}

/// Makes an empty database cluster in `folder/data`.
///
/// # Panics
/// When that fails.
pub fn init_postgres(folder: &Path) {
    run(Command::new("chown").args(["-R", "postgres"]).arg(folder));
    let init = ["--auth", "trust", "--username", "postgres", "-D"];
    run(of_postgres(folder, "initdb").args(init).arg(folder.join("data")));
}
