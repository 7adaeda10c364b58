//! Another binary takes over: it gets the sockets and serves beside this process, which takes nobody any more
//! and goes on, under a name of its own, until the last of those who are here has left.

use std::{convert::Infallible, net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use common::{drain::Drain, handover::Successor, notify};
use tokio::{
    signal::unix::{SignalKind, signal},
    task, time,
};

use super::{
    Plane, Role,
    last::{Drains, Last},
};

/// How long the control plane may take to know this process by its other name.
const KNOWN: Duration = Duration::from_secs(10);
/// How long the other binary may take until it serves.
const SERVES: Duration = Duration::from_secs(30);

/// Follows SIGUSR2 for as long as it is polled. `own` is the stop of what this process takes.
///
/// # Errors
/// When the signal cannot be listened to, or the system does not say where this binary is.
pub(super) async fn run(
    plane: &Arc<Plane>,
    drains: Option<Drains>,
    own: &Drain,
) -> anyhow::Result<Infallible> {
    let successor = Successor::new().context("find this binary")?;
    let mut asked = signal(SignalKind::user_defined2())?;
    // Held until the end of this process, by which the other one knows that it has ended.
    let mut lasts = Vec::new();
    loop {
        asked.recv().await;
        if own.is_started() {
            continue;
        }
        match hand_over(plane, drains.as_ref(), &successor).await {
            Ok((pid, last)) => {
                tracing::info!(pid, "another binary took over");
                lasts.push(last);
                own.ask();
            }
            Err(error) => {
                plane.role.send_replace(Role::default());
                tracing::error!("no other binary takes over: {error:#}");
            }
        }
    }
}

async fn hand_over(
    plane: &Arc<Plane>,
    drains: Option<&Drains>,
    successor: &Successor,
) -> anyhow::Result<(u32, Last)> {
    ensure!(std::process::id() != 1, "this is the first process of a container, which would end with it");
    let checked = successor.clone();
    task::spawn_blocking(move || checked.check()).await.context("look at it")??;
    let last = drains.context("there is no folder to say so in")?.begin()?;
    // Known by its other name before the other one has its own: there is no moment at which nobody tells the
    // control plane of those who are here.
    // When it fails, the name is given up, and told as that of one that has ended.
    start(plane, &last, successor).await.map(|pid| (pid, last))
}

async fn start(plane: &Arc<Plane>, last: &Last, successor: &Successor) -> anyhow::Result<u32> {
    let role = Role { draining: Some(last.name().into()) };
    plane.role.send_replace(role.clone());
    let mut heard = plane.heard.subscribe();
    let known = time::timeout(KNOWN, heard.wait_for(|heard| *heard == role));
    known.await.context("the control plane does not know of it in time")?.context("the link has ended")?;
    let sockets = plane.sockets().values().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>()?;
    let beginning = successor.start(&sockets).context("start it")?;
    let pid = beginning.id();
    notify::main_process(pid);
    let served = task::spawn_blocking(move || beginning.wait(SERVES)).await.context("wait for it")?;
    if served.is_err() {
        notify::main_process(std::process::id());
    }
    served.map(|()| pid)
}
