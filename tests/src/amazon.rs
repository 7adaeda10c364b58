//! Amazon's services as a third party keeps them (moto), set up by hand and looked at by hand.

use std::{net::SocketAddr, process::Command};

use serde_json::{Value, json};

use crate::{daemon::binary, plugin::Plugin, program::Program, rude::Rude, wait::PATIENCE};

/// Where everything is.
pub const REGION: &str = "eu-west-1";

/// A moto that runs until it is dropped.
pub struct Amazon {
    moto: Program,
}

impl Amazon {
    /// Starts one in which nothing is.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        let moto = Program::start(|_, address| {
            let mut command = Command::new("moto_server");
            command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
            command
        });
        Self { moto }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.moto.address
    }

    /// Asks EC2, RDS or Auto Scaling, which answer with XML.
    ///
    /// # Panics
    /// When it refuses.
    pub fn ask(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        ask(self.address(), service, action, parameters)
    }

    /// Asks ECS or Secrets Manager, which answer with JSON.
    ///
    /// # Panics
    /// When it refuses.
    pub fn tell(&self, service: &str, action: &str, body: &Value) -> Value {
        let target = match service {
            "ecs" => format!("AmazonEC2ContainerServiceV20141113.{action}"),
            _ => format!("{service}.{action}"),
        };
        let request = ureq::post(format!("http://{}/", self.address()))
            .header("Authorization", scope(service))
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", target);
        let text = send(request, &body.to_string());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Makes a machine that runs, and returns its id.
    ///
    /// # Panics
    /// When it refuses.
    pub fn machine(&self, tags: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("ImageId".to_owned(), "ami-12c6146b".to_owned()),
            ("MinCount".to_owned(), "1".to_owned()),
            ("MaxCount".to_owned(), "1".to_owned()),
            ("TagSpecification.1.ResourceType".to_owned(), "instance".to_owned()),
        ];
        for (at, (key, value)) in [("made", "by hand")].iter().chain(tags).enumerate() {
            let place = format!("TagSpecification.1.Tag.{}", at + 1);
            parameters.push((format!("{place}.Key"), (*key).to_owned()));
            parameters.push((format!("{place}.Value"), (*value).to_owned()));
        }
        let borrowed: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let made = self.ask("ec2", "RunInstances", &borrowed);
        element(&made, "instanceId").expect("an instance").to_owned()
    }

    /// EC2's word for how a machine is.
    ///
    /// # Panics
    /// When there is none of this id.
    pub fn machine_is(&self, id: &str) -> String {
        machine_is(self.address(), id)
    }

    /// Keeps a text as a secret.
    ///
    /// # Panics
    /// When it refuses.
    pub fn keep_secret(&self, name: &str, text: &str) {
        let body = json!({ "Name": name, "SecretString": text });
        self.tell("secretsmanager", "CreateSecret", &body);
    }

    /// Keeps another text in its place.
    ///
    /// # Panics
    /// When it refuses.
    pub fn change_secret(&self, name: &str, text: &str) {
        let body = json!({ "SecretId": name, "SecretString": text });
        self.tell("secretsmanager", "PutSecretValue", &body);
    }
}

/// EC2's word for how a machine is, for whoever has only the address of moto.
///
/// # Panics
/// When there is none of this id.
pub fn machine_is(address: SocketAddr, id: &str) -> String {
    let told = ask(address, "ec2", "DescribeInstances", &[("InstanceId.1", id)]);
    let state = told.split("<instanceState>").nth(1).and_then(|rest| element(rest, "name"));
    state.expect("a state").to_owned()
}

/// What stands in the first element of this name.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    xml.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// By this the services on one address are told apart.
fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn ask(address: SocketAddr, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
    let version = match service {
        "ec2" => "2016-11-15",
        "rds" => "2014-10-31",
        _ => "2011-01-01",
    };
    let all = [("Action", action), ("Version", version)];
    let pairs = all.iter().chain(parameters).map(|(name, value)| format!("{name}={}", escaped(value)));
    let request = ureq::post(format!("http://{address}/"))
        .header("Authorization", scope(service))
        .header("Content-Type", "application/x-www-form-urlencoded");
    send(request, &pairs.collect::<Vec<_>>().join("&"))
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn send(request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &str) -> String {
    let request = request.config().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
    let mut answer = request.send(body).expect("moto answers");
    let text = answer.body_mut().read_to_string().expect("text");
    assert!(answer.status().is_success(), "{body}: {text}");
    text
}

/// The plug-in for this Amazon, with keys and a region.
///
/// # Panics
/// When it was not built.
pub fn plugin_command(endpoint: &str) -> Command {
    let mut command = Command::new(binary("autostop-provider-aws"));
    command.env_clear().env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", REGION);
    command
}

/// The plug-in, running, for an Amazon at this address.
///
/// # Panics
/// When it does not start.
pub fn plugin_at(address: SocketAddr) -> Plugin {
    Plugin::start(plugin_command(&format!("http://{address}")), &json!({}))
}

/// The plug-in before an Amazon that is rude when it is told to be.
///
/// # Panics
/// When either does not start.
pub fn before(amazon: &Amazon) -> (Plugin, Rude) {
    let rude = Rude::before(amazon.address());
    (plugin_at(rude.address), rude)
}

/// The kind of error of an answer.
///
/// # Panics
/// When it is none.
pub fn fault(answer: &Value) -> &str {
    answer["error"]["kind"].as_str().unwrap_or_else(|| panic!("an error in {answer}"))
}

/// It was taken as an order.
///
/// # Panics
/// When it was not.
pub fn taken(answer: &Value) {
    assert_eq!(answer["ok"], true, "{answer}");
}
