//! One link to the control plane, from Hello to its end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use common::{admin::Readiness, backoff::Backoff, daemon::VERSION, handover};
use tokio::{
    select,
    sync::mpsc,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::{
    plane::{
        Plane, Role, Settings,
        gate::{Gate, Phase, Wanter},
        kept,
        last::Drains,
    },
    wire::{
        self, Activity, AttachRequest, AttachResponse, Fenced, Gone, Hello, Listening, Wake, attach_request,
        attach_response, link_service_client::LinkServiceClient,
    },
};

/// How long a step may take before the control plane counts as hanging.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_secs(1);
/// How often activity is told though nothing changed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

pub(super) struct Session<'a> {
    pub(super) settings: &'a Settings,
    pub(super) plane: &'a Arc<Plane>,
    pub(super) readiness: &'a Readiness,
    pub(super) drains: Option<&'a Drains>,
    pub(super) epoch: u64,
    /// As what it speaks.
    pub(super) role: Role,
    pub(super) backoff: &'a mut Backoff,
    /// Whether the control plane said anything.
    pub(super) attached: &'a mut bool,
}

impl Session<'_> {
    /// Never ends well: the control plane is not done with a plane that lives.
    pub(super) async fn run(self) -> anyhow::Result<Infallible> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.settings.control))
            .context("use the address of the control plane")?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PATIENCE)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.context("connect")?;
        let (outgoing, requests) = mpsc::channel(64);
        let mut line = Line(outgoing);
        line.say(attach_request::Message::Hello(Hello {
            plane: self.role.draining.as_deref().unwrap_or(&self.settings.plane_id).to_owned(),
            epoch: self.epoch,
            version: VERSION.to_owned(),
        }))
        .await?;
        let mut client = LinkServiceClient::new(channel);
        let attached = time::timeout(PATIENCE, client.attach(ReceiverStream::new(requests)));
        let mut heard = match attached.await.context("attach: no answer in time")? {
            Ok(answer) => answer.into_inner(),
            Err(status) => bail!("attach: {}", status.message()),
        };
        tracing::info!(addr = self.settings.control, "Successfully connected to control plane");
        for gate in self.plane.gates_planned() {
            gate.ask_again();
        }
        let mut looks = time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listening = self.plane.listening.subscribe();
        let mut told = Told::default();
        loop {
            select! {
                message = heard.message() => match message {
                    Ok(Some(message)) => {
                        self.backoff.reset();
                        *self.attached = true;
                        self.take(message, &mut line).await?;
                    }
                    Ok(None) => bail!("the control plane ended the link"),
                    Err(status) => bail!("the link broke: {}", status.message()),
                },
                changed = listening.changed() => {
                    changed.context("the listeners ended")?;
                    if self.role.draining.is_none() {
                        self.tell_listening(&mut listening, &mut line).await?;
                    }
                }
                () = self.plane.bell.notified() => self.ask_for_wakes(&mut line).await?,
                _ = looks.tick() => {
                    self.ask_for_wakes(&mut line).await?;
                    self.tell_activity(&mut told, &mut line).await?;
                    self.tell_gone(&mut line).await?;
                }
            }
        }
    }

    async fn take(&self, message: AttachResponse, line: &mut Line) -> anyhow::Result<()> {
        match message.message {
            Some(attach_response::Message::Plan(plan)) => {
                self.keep(&plan).await;
                self.plane.take_plan(plan);
                self.readiness.done(super::PLAN);
                self.plane.heard.send_replace(self.role.clone());
            }
            Some(attach_response::Message::Gone(gone)) => {
                tracing::info!(plane = gone.plane, "the last one who came through another process has left");
                if let Some(drains) = self.drains {
                    drains.forget(&gone.plane);
                }
            }
            Some(attach_response::Message::State(state)) => {
                let generation = state.generation;
                let (phase, counts, gate) = self.plane.take_state(state);
                if phase == Phase::Fenced {
                    line.say(attach_request::Message::Fenced(Fenced {
                        rule_id: gate.rule_id().to_owned(),
                        generation,
                        open_connections: counts.open_connections,
                        open_requests: counts.open_requests,
                        parked: counts.parked,
                        idle_ms: gate.idle_ms(),
                    }))
                    .await?;
                }
                self.ask_for_wake(&gate, line).await?;
            }
            // Something newer than this plane.
            None => {}
        }
        Ok(())
    }

    async fn keep(&self, plan: &wire::Plan) {
        // Of two processes, the one that is to start again keeps it.
        let Some(path) = self.settings.plan_file().filter(|_| self.role.draining.is_none()) else { return };
        let plan = plan.clone();
        let kept = tokio::task::spawn_blocking(move || kept::keep(&path, &plan)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "the plan cannot be kept; without lw_proxy, the next start has none");
        }
    }

    async fn ask_for_wakes(&self, line: &mut Line) -> anyhow::Result<()> {
        for gate in self.plane.gates_planned() {
            self.ask_for_wake(&gate, line).await?;
        }
        Ok(())
    }

    async fn ask_for_wake(&self, gate: &Gate, line: &mut Line) -> anyhow::Result<()> {
        let Some(Wanter { peer, protocol, detail }) = gate.wake_due() else { return Ok(()) };
        let rule = gate.rule_id();
        self.plane.metrics.wakes.inc();
        tracing::info!(rule, %peer, protocol, detail, "wake");
        line.say(attach_request::Message::Wake(Wake {
            rule_id: rule.to_owned(),
            peer: peer.to_string(),
            protocol: protocol.to_owned(),
            detail,
        }))
        .await
    }

    async fn tell_listening(
        &self,
        listening: &mut tokio::sync::watch::Receiver<(u64, Vec<wire::listening::Port>)>,
        line: &mut Line,
    ) -> anyhow::Result<()> {
        let (plan_revision, ports) = listening.borrow_and_update().clone();
        line.say(attach_request::Message::Listening(Listening { plan_revision, ports })).await?;
        if plan_revision > 0 {
            handover::serving();
        }
        Ok(())
    }

    /// Of processes before this one that have ended.
    async fn tell_gone(&self, line: &mut Line) -> anyhow::Result<()> {
        let Some(drains) = self.drains.filter(|_| self.role.draining.is_none()) else { return Ok(()) };
        for plane in drains.ended() {
            line.say(attach_request::Message::Gone(Gone { plane })).await?;
        }
        Ok(())
    }

    async fn tell_activity(&self, told: &mut Told, line: &mut Line) -> anyhow::Result<()> {
        let targets: Vec<_> = self.plane.gates_planned().iter().map(|gate| gate.report()).collect();
        let essence = targets
            .iter()
            .map(|target| {
                let is_idle = target.idle_ms > LOOK.as_millis().try_into().unwrap_or(u64::MAX);
                let counts = [target.open_connections, target.open_requests, target.parked];
                (target.rule_id.clone(), is_idle, counts, target.bytes_up + target.bytes_down)
            })
            .collect();
        if told.essence == essence && told.at.is_some_and(|at| at.elapsed() < SIGN_OF_LIFE) {
            return Ok(());
        }
        *told = Told { essence, at: Some(Instant::now()) };
        line.say(attach_request::Message::Activity(Activity { targets })).await
    }
}

/// What was told last.
#[derive(Default)]
struct Told {
    essence: Vec<(String, bool, [u32; 3], u64)>,
    at: Option<Instant>,
}

struct Line(mpsc::Sender<AttachRequest>);

impl Line {
    async fn say(&mut self, message: attach_request::Message) -> anyhow::Result<()> {
        let request = AttachRequest { message: Some(message) };
        self.0.send_timeout(request, PATIENCE).await.context("the control plane does not listen")
    }
}
