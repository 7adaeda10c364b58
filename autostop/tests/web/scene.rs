//! The real lw_proxy over folders of its own, with machines that are files, and a plane that says what the test wants.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use autostop::{control::record::Record, journal::Journal};
use tempfile::TempDir;

/// What the API asks for.
pub const TOKEN: &str = "sat.only-for-tests";

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        // Sleeps: between two looks at the condition.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

pub struct Scene {
    folder: TempDir,
    process: Child,
    pub port: u16,
    pub planes_port: u16,
    token: Option<&'static str>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A rule without a port, named and minded by the provider `lab`.
pub fn rule(name: &str, more: &str) -> String {
    format!("name = {}\nprovider = \"lab\"\n{more}\n[filter]\nvm_ids = [\"m\"]\n", serde_json::json!(name))
}

impl Scene {
    /// Starts with these rules; each file is named by its number.
    pub fn start(token: Option<&'static str>, rules: &[String]) -> Self {
        Self::with_past(token, rules, &[])
    }

    /// As `start`, where no file can be longer than a block.
    pub fn with_little_disk(token: Option<&'static str>, rules: &[String]) -> Self {
        let little = |program: Command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
            shell.arg(program.get_program()).args(program.get_args());
            shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            shell
        };
        Self::begin(token, rules, &[], little)
    }

    /// As `start`, with records of a run before.
    pub fn with_past(token: Option<&'static str>, rules: &[String], past: &[Record]) -> Self {
        Self::begin(token, rules, past, |program| program)
    }

    fn begin(
        token: Option<&'static str>,
        rules: &[String],
        past: &[Record],
        around: impl FnOnce(Command) -> Command,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        let mut config = "accountID = \"my-<team>\"\naccessPointID = \"ap-local\"\n".to_owned();
        config += &format!("rulesDir = \"{path}/rules.d\"\nstateDir = \"{path}/state\"\n");
        config += "proxyPort = 0\nusageTrackingPort = 0\n";
        if let Some(token) = token {
            config += &format!("authToken = \"{token}\"\n");
        }
        let status = format!("if [ -f {path}/up-$0 ]; then echo running; else echo stopped; fi");
        config += &format!(
            "[providers.lab]\nkind = \"command\"\naddress = \"127.0.0.1\"\nstart = [\"touch\", \"{path}/up-{{id}}\"]\n\
             stop = [\"rm\", \"-f\", \"{path}/up-{{id}}\"]\nstatus = [\"sh\", \"-c\", \"{status}\", \"{{id}}\"]\n\
             [providers.broken]\nkind = \"command\"\naddress = \"127.0.0.1\"\nstart = [\"false\"]\nstop = [\"false\"]\n\
             status = [\"echo\", \"stopped\"]\n"
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        fs::create_dir(folder.path().join("rules.d")).unwrap();
        for (number, rule) in rules.iter().enumerate() {
            fs::write(folder.path().join(format!("rules.d/{number}.toml")), rule).unwrap();
        }
        if !past.is_empty() {
            fs::create_dir(folder.path().join("state")).unwrap();
            let (mut journal, _) = Journal::open(&folder.path().join("state/control")).unwrap();
            journal.append(past).unwrap();
        }
        let (process, port, planes_port) = run(around(program(&folder.path().join("config.toml"))));
        let scene = Self { folder, process, port, planes_port, token };
        wait_for("lw_proxy to answer", || (scene.get("/livez").status == 200).then_some(()));
        scene
    }

    /// Ends lw_proxy as a power switch would, and starts it again.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        (self.process, self.port, self.planes_port) = run(program(&self.config()));
        wait_for("lw_proxy to answer", || (self.get("/livez").status == 200).then_some(()));
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// Whether the machine of this id is up.
    pub fn is_up(&self, id: &str) -> bool {
        self.path().join(format!("up-{id}")).exists()
    }

    /// Asks with these headers, and with nothing else that a client would add by itself.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
        let mut request =
            http::Request::builder().method(method).uri(format!("http://127.0.0.1:{}{path}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method == "POST" && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let (parts, mut body) = answer.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text: body.read_to_string().unwrap() }
    }

    /// Asks as who knows the token, if there is one.
    pub fn get(&self, path: &str) -> Answer {
        self.knowing("GET", path, "")
    }

    /// Sends a form as who knows the token, if there is one.
    pub fn post(&self, path: &str, form: &str) -> Answer {
        self.knowing("POST", path, form)
    }

    /// Asks as who knows the token, if there is one.
    pub fn knowing(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = self.token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        self.ask(method, path, &headers, body)
    }

    /// A rule by what the page of it says of its state.
    pub fn wait_for_word(&self, id: &str, word: &str) -> String {
        let path = format!("/dashboard/rules/{id}");
        wait_for(&format!("{id} to be {word}"), || {
            let page = self.get(&path).text;
            page.contains(&format!("data-state=\"{word}\"")).then_some(page)
        })
    }

    /// What the command line prints about this daemon.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = program(&self.config());
        command.env("PROXY_PORT", self.port.to_string()).args(arguments);
        command.output().unwrap()
    }
}

/// Starts it, and waits until it says where it listens.
fn run(mut program: Command) -> (Child, u16, u16) {
    let mut process = program.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut port = |message: &str| {
        let line = lines.find(|line| line.contains(message)).expect("it says where it listens");
        let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let addr = told["addr"].as_str().unwrap();
        addr.rsplit(':').next().unwrap().parse::<u16>().unwrap()
    };
    let (status, planes) = (port("Starting status listener"), port("Starting usage tracking listener"));
    // Nobody reads what follows, and it must not block on that.
    std::thread::spawn(move || lines.for_each(drop));
    (process, status, planes)
}

/// The binary with this configuration, and nothing of the environment.
pub fn program(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lw_proxy"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--config").arg(config).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
