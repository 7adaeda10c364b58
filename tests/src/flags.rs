//! flag-relay between a flag service of our own and SDKs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::{
    daemon::{Daemon, binary},
    flag::{ENVIRONMENT, KEY},
    peer::free_port,
    redis::Redis,
    wait::{PATIENCE, wait_for},
};

/// A running `flag-relay saas`, with one environment, one SDK key and one proxy key.
pub struct Saas {
    /// Its process.
    pub daemon: Option<Daemon>,
    /// Where it is.
    pub port: u16,
    folder: PathBuf,
}

/// A flag that is on and serves this text by default.
pub fn text_flag(name: &str, text: &str) -> Value {
    json!({
        "feature": name, "kind": "string", "state": "on", "offVariation": "it",
        "variations": [{ "identifier": "it", "value": text }], "defaultServe": { "variation": "it" },
    })
}

/// A boolean flag that is on and serves this by default.
pub fn flag(name: &str, value: bool) -> Value {
    json!({
        "feature": name, "kind": "boolean", "state": "on", "offVariation": "false",
        "variations": [{ "identifier": "true", "value": "true" }, { "identifier": "false", "value": "false" }],
        "defaultServe": { "variation": value.to_string() },
    })
}

/// The answer to a request with JSON: its code, and what it says.
///
/// # Panics
/// When there is none.
pub fn ask(method: &str, url: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let agent: Agent =
        Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let text = body.to_string();
    let answer = match method {
        "GET" => agent.get(url).header("Authorization", bearer).call(),
        "DELETE" => agent.delete(url).header("Authorization", bearer).call(),
        "PUT" => agent.put(url).content_type("application/json").send(text),
        "PATCH" => agent.patch(url).content_type("application/json").send(text),
        _ => agent.post(url).content_type("application/json").header("Authorization", bearer).send(text),
    };
    let mut answer = answer.expect("an answer");
    let told = answer.body_mut().read_to_string().unwrap_or_default();
    (answer.status().as_u16(), serde_json::from_str(&told).unwrap_or(Value::Null))
}

impl Saas {
    /// Starts it, and writes the value of its proxy key into the file `proxy-key`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(folder: &Path) -> Self {
        let mut saas = Self { daemon: None, port: free_port(), folder: folder.to_owned() };
        saas.again();
        let place =
            json!({ "org": "o", "project": "p", "identifier": "prod", "name": "prod", "production": true });
        saas.put(&format!("/admin/environments/{ENVIRONMENT}"), &place);
        saas.admin("POST", &format!("/admin/environments/{ENVIRONMENT}/keys"), &json!({ "key": KEY }));
        saas.put_flag(&flag("f1", false));
        let scope = json!({ "o": { "projects": { "p": { "scope": "all" } } } });
        let new = json!({ "name": "relay", "identifier": "relay", "organizations": scope });
        let made = saas.admin("POST", "/admin/proxy/keys", &new);
        saas.bring(&made);
        saas
    }

    /// Starts it once more, at the same port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self) {
        let mut command = Command::new(binary("flag-relay"));
        command
            .args(["saas", "--config", "/dev/null"])
            .env_clear()
            .env("LISTEN", format!("127.0.0.1:{}", self.port))
            .env("DATA_DIR", self.folder.join("saas"))
            .env("FAULTS", "true");
        let daemon = Daemon::watch("flag-saas", command);
        self.port = daemon.port("serving the flag service", "addr");
        self.daemon = Some(daemon);
    }

    /// Ends it, and says with which code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> i32 {
        self.daemon.take().expect("it runs").stop()
    }

    /// Asks as an administrator.
    ///
    /// # Panics
    /// When it is refused.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let (code, told) = ask(method, &format!("http://127.0.0.1:{}{path}", self.port), None, body);
        assert!((200..300).contains(&code), "{method} {path}: {code} {told}");
        told
    }

    /// Writes as an administrator.
    pub fn put(&self, path: &str, body: &Value) {
        self.admin("PUT", path, body);
    }

    /// Writes a flag.
    ///
    /// # Panics
    /// When it has no name.
    pub fn put_flag(&self, flag: &Value) {
        let name = flag["feature"].as_str().expect("a name");
        self.put(&format!("/admin/environments/{ENVIRONMENT}/flags/{name}"), flag);
    }

    /// Rotates the proxy key.
    pub fn rotate(&self, hours: &str) -> Value {
        let patch = json!({ "instructions": { "rotateKey": hours } });
        self.admin("PATCH", "/admin/proxy/keys/relay", &patch)
    }

    /// Writes the new value of the proxy key into the file that the relay looks at.
    ///
    /// # Panics
    /// When there is none.
    pub fn bring(&self, made: &Value) {
        let key = made["key"].as_str().expect("the value of the key");
        let beside = self.folder.join("proxy-key.new");
        fs::write(&beside, format!("{key}\n")).expect("the file is written");
        fs::rename(beside, self.folder.join("proxy-key")).expect("the file is moved");
    }

    /// Asks for faults.
    pub fn fail(&self, faults: &Value) {
        self.put("/faults", faults);
    }
}

/// A running relay that follows the service, or what a primary wrote into Redis.
pub struct Follower {
    /// Its process.
    pub daemon: Option<Daemon>,
    /// Where SDKs connect.
    pub port: u16,
    /// Where its status is.
    pub status: u16,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl Follower {
    /// Starts it on free ports.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(folder: &Path, saas: &Saas) -> Self {
        Self::start_primary(folder, saas, &[])
    }

    /// Starts it with more variables, such as where Redis is.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_primary(folder: &Path, saas: &Saas, more: &[(&str, &str)]) -> Self {
        let service = format!("http://127.0.0.1:{}/api/1.0", saas.port);
        let key = saas.folder.join("proxy-key").to_string_lossy().into_owned();
        let own =
            [("PROXY_KEY_FILE", key.as_str()), ("CLIENT_SERVICE", &service), ("METRIC_SERVICE", &service)];
        Self::start_with(folder, &[&own, more].concat())
    }

    /// Starts a replica of what is in this Redis.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_replica(folder: &Path, redis: &str, more: &[(&str, &str)]) -> Self {
        let own = [("READ_REPLICA", "true"), ("REDIS_ADDRESS", redis)];
        Self::start_with(folder, &[&own, more].concat())
    }

    /// Starts it with these variables and nothing else that says where flags come from.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_alone(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_with(folder, variables)
    }

    fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let variables =
            variables.iter().map(|(name, told)| ((*name).to_owned(), (*told).to_owned())).collect();
        let mut relay =
            Self { daemon: None, port: free_port(), status: 0, folder: folder.to_owned(), variables };
        relay.again();
        relay
    }

    /// Starts it once more, at the same port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self) {
        let data = self.folder.join("data").to_string_lossy().into_owned();
        let port = self.port.to_string();
        let mut variables = vec![
            ("METRIC_POST_DURATION", "1"),
            ("DATA_DIR", data.as_str()),
            ("PORT", port.as_str()),
            ("STATUS_ADDR", "127.0.0.1:0"),
            ("AUTH_SECRET", "of the tests"),
        ];
        variables.extend(self.variables.iter().map(|(name, told)| (name.as_str(), told.as_str())));
        let mut daemon = Daemon::start("flag-relay", &variables);
        daemon.announce("the flag service cannot be followed").announce("the proxy key was deleted");
        daemon.announce("Redis cannot be");
        self.status = daemon.port("serving the status", "addr");
        self.port = daemon.port("listening for SDKs", "addr");
        self.daemon = Some(daemon);
    }

    /// Ends it, and says with which code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> i32 {
        self.daemon.take().expect("it runs").stop()
    }

    /// Where SDKs are pointed to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The token for the SDK key; `None` when it opens nothing.
    pub fn token(&self) -> Option<String> {
        let (code, told) =
            ask("POST", &format!("{}/client/auth", self.url()), None, &json!({ "apiKey": KEY }));
        (code == 200).then(|| told["authToken"].as_str().expect("a token").to_owned())
    }

    /// What this flag serves by default, and its version; `None` where nothing is served.
    ///
    /// # Panics
    /// When the answer is no list.
    pub fn served(&self, name: &str) -> Option<(String, u64)> {
        let token = self.token()?;
        let url = format!("{}/client/env/{ENVIRONMENT}/feature-configs", self.url());
        let (code, told) = ask("GET", &url, Some(&token), &Value::Null);
        assert_eq!(code, 200);
        let flags = told.as_array().expect("a list");
        let flag = flags.iter().find(|flag| flag["feature"] == name)?;
        let wanted = &flag["defaultServe"]["variation"];
        let variations = flag["variations"].as_array().expect("a list");
        let value = variations.iter().find(|told| told["identifier"] == *wanted).expect("it is there");
        Some((value["value"].as_str().expect("text").to_owned(), flag["version"].as_u64().expect("a number")))
    }

    /// How it says it is.
    pub fn health(&self) -> (String, String) {
        let (_, told) = ask("GET", &format!("{}/health", self.url()), None, &Value::Null);
        let state = |what: &str| told[what]["state"].as_str().unwrap_or_default().to_owned();
        (state("configStatus"), state("streamStatus"))
    }
}

/// A flag service, Redis, a primary and a replica that serves what it wrote.
pub struct House {
    /// The flag service.
    pub saas: Saas,
    /// Redis, which keeps nothing.
    pub redis: Redis,
    /// The primary; its folder is `primary`.
    pub primary: Follower,
    /// The replica; its folder is `replica`.
    pub replica: Follower,
    folder: TempDir,
}

impl House {
    /// Starts all of them.
    ///
    /// # Panics
    /// When one does not come up.
    #[expect(clippy::new_without_default, reason = "it starts processes")]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let saas = Saas::start(folder.path());
        let redis = Redis::start(&folder.path().join("redis"));
        let address = redis.address();
        let more = [("REDIS_ADDRESS", address.as_str())];
        let primary = Follower::start_primary(&folder.path().join("primary"), &saas, &more);
        let replica = Follower::start_replica(&folder.path().join("replica"), &address, &[]);
        wait_for("the replica to serve", || replica.served("f1"));
        Self { saas, redis, primary, replica, folder }
    }

    /// A name in the folder of all of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends them, in good order.
    ///
    /// # Panics
    /// When one does not end so.
    pub fn end(mut self) {
        assert_eq!((self.replica.stop(), self.primary.stop(), self.saas.stop()), (0, 0, 0));
    }
}
