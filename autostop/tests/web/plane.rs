//! A data plane that carries nobody and says what it is told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use autostop::wire::{
    Activity, AttachRequest, Fenced, Hello, Holder, Listening, Phase, Plan, TargetActivity, attach_request,
    attach_response, link_service_client::LinkServiceClient,
};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::scene::wait_for;

#[derive(Default)]
struct Desk {
    plan: Plan,
    busy: BTreeMap<String, Vec<Holder>>,
    parked: BTreeMap<String, u32>,
}

/// A plane that is attached until it is dropped. It reports every second and answers every fence.
pub struct Plane {
    _runtime: Runtime,
    desk: Arc<Mutex<Desk>>,
    sender: mpsc::UnboundedSender<AttachRequest>,
}

fn say(sender: &mpsc::UnboundedSender<AttachRequest>, message: attach_request::Message) {
    sender.send(AttachRequest { message: Some(message) }).ok();
}

impl Plane {
    pub fn attach(port: u16, name: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let desk = Arc::new(Mutex::new(Desk::default()));
        let (sender, told) = mpsc::unbounded_channel();
        let hello = Hello { plane: name.to_owned(), epoch: 1, version: "v0 <b>".to_owned() };
        say(&sender, attach_request::Message::Hello(hello));
        let heard = runtime.block_on(async {
            let mut client = LinkServiceClient::connect(format!("http://127.0.0.1:{port}")).await.unwrap();
            client.attach(UnboundedReceiverStream::new(told)).await.unwrap().into_inner()
        });
        runtime.spawn(hear(heard, Arc::clone(&desk), sender.clone()));
        wait_for("the plan", || (desk.lock().unwrap().plan.revision > 0).then_some(()));
        report(&desk, &sender);
        Self { _runtime: runtime, desk, sender }
    }

    /// From now on these use the target of a rule, and so many wait for it.
    pub fn use_it(&self, rule: &str, holders: Vec<Holder>, parked: u32) {
        let mut desk = self.desk.lock().unwrap();
        desk.busy.insert(rule.to_owned(), holders);
        desk.parked.insert(rule.to_owned(), parked);
        drop(desk);
        report(&self.desk, &self.sender);
    }

    /// Ports on which it cannot listen.
    pub fn deaf(&self, port: u32, error: &str) {
        let ports = vec![autostop::wire::listening::Port { port, error: error.to_owned() }];
        say(&self.sender, attach_request::Message::Listening(Listening { plan_revision: 1, ports }));
    }
}

fn report(desk: &Mutex<Desk>, sender: &mpsc::UnboundedSender<AttachRequest>) {
    let desk = desk.lock().unwrap();
    let targets = desk.plan.targets.iter().map(|target| desk.activity(&target.rule_id)).collect();
    say(sender, attach_request::Message::Activity(Activity { targets }));
}

impl Desk {
    fn activity(&self, rule: &str) -> TargetActivity {
        let holders = self.busy.get(rule).cloned().unwrap_or_default();
        let is_idle = holders.iter().all(|holder| !holder.counts);
        TargetActivity {
            rule_id: rule.to_owned(),
            open_connections: u32::try_from(holders.len()).unwrap(),
            open_requests: 0,
            parked: self.parked.get(rule).copied().unwrap_or_default(),
            idle_ms: if is_idle { 10_000_000 } else { 0 },
            bytes_up: 5,
            bytes_down: 5 << 20,
            holders,
        }
    }
}

async fn hear(
    mut heard: tonic::Streaming<autostop::wire::AttachResponse>,
    desk: Arc<Mutex<Desk>>,
    sender: mpsc::UnboundedSender<AttachRequest>,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let told = tokio::select! {
            told = heard.message() => told,
            _ = tick.tick() => {
                report(&desk, &sender);
                continue;
            }
        };
        let Ok(Some(told)) = told else { return };
        let mut desk = desk.lock().unwrap();
        match told.message {
            Some(attach_response::Message::Plan(plan)) => desk.plan = plan,
            Some(attach_response::Message::State(state)) if state.phase() == Phase::Fenced => {
                let told = desk.activity(&state.rule_id);
                let fenced = Fenced {
                    rule_id: told.rule_id,
                    generation: state.generation,
                    open_connections: told.open_connections,
                    open_requests: 0,
                    parked: told.parked,
                    idle_ms: told.idle_ms,
                };
                say(&sender, attach_request::Message::Fenced(fenced));
            }
            Some(attach_response::Message::State(_) | attach_response::Message::Gone(_)) | None => {}
        }
    }
}

/// Somebody who keeps a target awake.
pub fn holder(peer: &str, detail: &str) -> Holder {
    Holder {
        peer: peer.to_owned(),
        protocol: "http".to_owned(),
        detail: detail.to_owned(),
        open_ms: 125_000,
        bytes_last_minute: 4096,
        counts: true,
    }
}
