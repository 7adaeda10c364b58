//! A control plane that says what the test wants, and keeps what it hears.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use autostop::wire::{
    Activity, AttachRequest, AttachResponse, Fenced, Listening, Phase, Plan, Target, TargetActivity,
    TargetState, Wake, attach_request, attach_response,
    link_service_server::{LinkService, LinkServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, UnboundedReceiverStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::scene::wait_for;

type Answers = mpsc::UnboundedSender<Result<AttachResponse, Status>>;

#[derive(Default)]
struct Desk {
    plan: Plan,
    states: BTreeMap<String, TargetState>,
    links: Vec<Answers>,
    hellos: Vec<(String, u64)>,
    wakes: Vec<Wake>,
    fenced: Vec<Fenced>,
    listening: Option<Listening>,
    activity: Option<Activity>,
    activities: u64,
}

#[derive(Clone, Default)]
pub struct Control {
    desk: Arc<Mutex<Desk>>,
}

/// A control plane that answers at an address until it is dropped.
pub struct Serving {
    pub address: SocketAddr,
    server: JoinHandle<()>,
    control: Control,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.abort();
        self.control.desk.lock().unwrap().links.clear();
    }
}

impl Control {
    pub fn new(targets: Vec<Target>) -> Self {
        let control = Self::default();
        control.desk.lock().unwrap().plan =
            Plan { revision: 1, account_id: "test".to_owned(), targets, certificates: Vec::new() };
        control
    }

    /// Answers at this address; port 0 takes a free one.
    pub async fn serve(&self, address: SocketAddr) -> Serving {
        let listener = loop {
            // The port may still be taken by the server before.
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = listener.local_addr().unwrap();
        let service = LinkServiceServer::new(self.clone());
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Serving { address, server, control: self.clone() }
    }

    fn say(&self, message: attach_response::Message) {
        let answer = AttachResponse { message: Some(message) };
        self.desk.lock().unwrap().links.retain(|link| link.send(Ok(answer.clone())).is_ok());
    }

    /// Replaces the plan.
    pub fn plan(&self, change: impl FnOnce(&mut Plan)) -> u64 {
        let plan = {
            let mut desk = self.desk.lock().unwrap();
            change(&mut desk.plan);
            desk.plan.revision += 1;
            desk.plan.clone()
        };
        let revision = plan.revision;
        self.say(attach_response::Message::Plan(plan));
        revision
    }

    /// Changes the state of a target; returns its generation.
    pub fn state(&self, rule_id: &str, phase: Phase, change: impl FnOnce(&mut TargetState)) -> u64 {
        let state = {
            let mut desk = self.desk.lock().unwrap();
            let state = desk.states.entry(rule_id.to_owned()).or_default();
            state.rule_id = rule_id.to_owned();
            state.set_phase(phase);
            state.generation += 1;
            change(state);
            state.clone()
        };
        let generation = state.generation;
        self.say(attach_response::Message::State(state));
        generation
    }

    /// Changes the phase alone.
    pub fn phase(&self, rule_id: &str, phase: Phase) -> u64 {
        self.state(rule_id, phase, |_| {})
    }

    /// Fences, and waits for what was open then.
    pub async fn fence(&self, rule_id: &str) -> Fenced {
        let generation = self.phase(rule_id, Phase::Fenced);
        let fits = |fenced: &&Fenced| fenced.rule_id == rule_id && fenced.generation == generation;
        wait_for("the fence to be answered", || self.desk.lock().unwrap().fenced.iter().find(fits).cloned())
            .await
    }

    /// Waits until the plane has taken everything that was said to it, which it does in order.
    pub async fn settled(&self) {
        self.fence("of-no-rule").await;
    }

    pub fn wakes(&self, rule_id: &str) -> Vec<Wake> {
        let desk = self.desk.lock().unwrap();
        desk.wakes.iter().filter(|wake| wake.rule_id == rule_id).cloned().collect()
    }

    pub async fn woken(&self, rule_id: &str) -> Wake {
        wait_for("a wake", || self.wakes(rule_id).pop()).await
    }

    pub fn forget_wakes(&self) {
        self.desk.lock().unwrap().wakes.clear();
    }

    pub fn hellos(&self) -> Vec<(String, u64)> {
        self.desk.lock().unwrap().hellos.clone()
    }

    /// What was last told of a target, once it is told anew.
    pub async fn activity(&self, rule_id: &str) -> TargetActivity {
        let before = self.desk.lock().unwrap().activities;
        wait_for("activity", || {
            let desk = self.desk.lock().unwrap();
            let mut targets = desk.activity.iter().flat_map(|activity| &activity.targets);
            let found = targets.find(|target| target.rule_id == rule_id).cloned();
            found.filter(|_| desk.activities > before)
        })
        .await
    }

    /// Waits until activity tells what is looked for.
    pub async fn told(
        &self,
        rule_id: &str,
        what: &str,
        fits: impl Fn(&TargetActivity) -> bool,
    ) -> TargetActivity {
        wait_for(what, || {
            let desk = self.desk.lock().unwrap();
            let targets = desk.activity.iter().flat_map(|activity| &activity.targets);
            targets.filter(|target| target.rule_id == rule_id).find(|target| fits(target)).cloned()
        })
        .await
    }

    /// Waits until this plan is listened for.
    pub async fn listening(&self, revision: u64) -> Listening {
        wait_for("the listeners", || {
            let desk = self.desk.lock().unwrap();
            desk.listening.clone().filter(|listening| listening.plan_revision == revision)
        })
        .await
    }

    pub fn listening_now(&self) -> Listening {
        self.desk.lock().unwrap().listening.clone().unwrap()
    }

    fn hear(&self, message: attach_request::Message) {
        let mut desk = self.desk.lock().unwrap();
        match message {
            attach_request::Message::Hello(hello) => desk.hellos.push((hello.plane, hello.epoch)),
            attach_request::Message::Wake(wake) => desk.wakes.push(wake),
            attach_request::Message::Fenced(fenced) => desk.fenced.push(fenced),
            attach_request::Message::Gone(_) => {}
            attach_request::Message::Listening(listening) => desk.listening = Some(listening),
            attach_request::Message::Activity(activity) => {
                desk.activity = Some(activity);
                desk.activities += 1;
            }
        }
    }
}

#[tonic::async_trait]
impl LinkService for Control {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, outgoing) = mpsc::unbounded_channel();
        let first = requests.next().await.expect("a first message")?.message;
        assert!(matches!(first, Some(attach_request::Message::Hello(_))), "Hello comes first");
        self.hear(first.unwrap());
        let mut desk = self.desk.lock().unwrap();
        let say = |message| answers.send(Ok(AttachResponse { message: Some(message) })).unwrap();
        say(attach_response::Message::Plan(desk.plan.clone()));
        for state in desk.states.values() {
            say(attach_response::Message::State(state.clone()));
        }
        desk.links.push(answers.clone());
        drop(desk);
        let control = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                control.hear(request.message.unwrap());
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }
}
