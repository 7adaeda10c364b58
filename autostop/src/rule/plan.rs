//! Pure. A rule as far as a plane needs it, and as far as its machine does.

use std::time::Duration;

use super::{Action, HealthProtocol, HttpProtocol, Match, Preset, Rule, Rules};
use crate::{
    machine::{Pace, Settings},
    ports::Ports,
    wire,
};

impl Rules {
    /// How the machine of a rule is to mind its target.
    pub fn settings(&self, rule: &Rule, pace: Pace) -> Settings {
        Settings {
            idle_time: rule.idle_time,
            min_online: rule.min_online,
            start_timeout: rule.start_timeout,
            stop_timeout: rule.stop_timeout,
            depends_timeout: self.patience(rule),
            dry_run: rule.dry_run,
            on_external_change: rule.on_external_change,
            stop_under_keepalives: rule.stop_under_keepalives,
            pace,
        }
    }

    /// How long what a rule depends on may take at most: each of them may be amid a stop, has
    /// dependencies of its own, and is started after that.
    fn patience(&self, rule: &Rule) -> Option<Duration> {
        rule.depends
            .iter()
            .filter_map(|dependency| {
                let first = self.get(&dependency.rule)?;
                let before = self.patience(first).unwrap_or_default();
                Some(before + first.stop_timeout + first.start_timeout + dependency.delay)
            })
            .max()
    }
}

impl Rule {
    /// The plane's part of the rule, with the ports that were allotted to it. A TCP port that has none is
    /// left out.
    pub fn target(&self, ports: &Ports) -> wire::Target {
        wire::Target {
            rule_id: self.id.to_string(),
            name: self.name.clone(),
            domains: self.domains.clone(),
            http: self.http.iter().map(Into::into).collect(),
            tcp: self
                .tcp
                .iter()
                .filter_map(|tcp| {
                    Some(wire::TcpPort {
                        port: ports.get(&self.id, tcp.target_port)?.into(),
                        target_port: tcp.target_port.into(),
                        preset: wire::Preset::from(tcp.preset).into(),
                        proxy_protocol_in: tcp.proxy_protocol_in,
                    })
                })
                .collect(),
            health: self.health.as_ref().map(|health| wire::HealthCheck {
                protocol: match health.protocol {
                    HealthProtocol::Http => "http",
                    HealthProtocol::Https => "https",
                    HealthProtocol::Tcp => "tcp",
                }
                .to_owned(),
                port: health.port.into(),
                path: health.path.clone(),
                timeout_ms: millis(health.timeout),
                status_code_from: (*health.status.start()).into(),
                status_code_to: (*health.status.end()).into(),
            }),
            hide_progress_page: self.hide_progress_page,
            hold_ms: millis(self.hold.max_time),
            hold_clients: self.hold.max_clients,
            hold_bytes: self.hold.max_bytes,
            wake_grace_ms: millis(self.wake_grace),
            exclusions: self.exclusions.iter().map(Into::into).collect(),
            inclusions: self.inclusions.iter().map(Into::into).collect(),
            wakers: self.wakers.iter().map(ToString::to_string).collect(),
            proxy_protocol_out: self.proxy_protocol_out.into(),
        }
    }
}

impl From<&super::HttpRoute> for wire::HttpRoute {
    fn from(route: &super::HttpRoute) -> Self {
        let name = |protocol| match protocol {
            HttpProtocol::Http => "http".to_owned(),
            HttpProtocol::Https => "https".to_owned(),
        };
        Self {
            source_protocol: name(route.source_protocol),
            source_port: route.source_port.into(),
            target_protocol: name(route.target_protocol),
            target_port: route.target_port.into(),
            action: match route.action {
                Action::Forward => wire::Action::Forward,
                Action::Redirect => wire::Action::Redirect,
            }
            .into(),
            path: route.path.clone(),
            redirect_url: route.redirect_url.clone(),
        }
    }
}

impl From<&Match> for wire::Match {
    fn from(matches: &Match) -> Self {
        Self {
            path: matches.path.clone(),
            user_agent: matches.user_agent.clone(),
            client: matches.client.map(|client| client.to_string()).unwrap_or_default(),
        }
    }
}

impl From<Preset> for wire::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Tcp => Self::Tcp,
            Preset::Ssh => Self::Ssh,
            Preset::Rdp => Self::Rdp,
            Preset::Postgres => Self::Postgres,
            Preset::Mysql => Self::Mysql,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
