//! The conversation with lw_proxy: every request is a task of its own, and its answer one line.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _},
    select,
    sync::mpsc,
    task::JoinSet,
    time,
};

use crate::{
    access::Access,
    database,
    failure::{Failure, Kind},
    group, instance,
    protocol::{self, Answer, Reply, Request, Said, VERSION},
    secret, service,
    target::{Params, Thing},
};

/// Without a deadline of its own, an answer is late after this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long orders that are under way may take when the input has ended: lw_proxy waits for two seconds.
const FAREWELL: Duration = Duration::from_millis(1500);
/// How many answers may wait to be written.
const WAITING: usize = 256;

/// Answers until the input ends.
pub(crate) async fn serve(
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (answers, told) = mpsc::channel(WAITING);
    select! {
        written = write(output, told) => written,
        heard = hear(input, answers) => heard,
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut answers: mpsc::Receiver<Answer>) -> io::Result<()> {
    while let Some(answer) = answers.recv().await {
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

async fn hear(input: impl AsyncBufRead + Unpin, answers: mpsc::Sender<Answer>) -> io::Result<()> {
    let mut lines = input.lines();
    let mut access: Option<Arc<Access>> = None;
    let mut tasks = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        while tasks.try_join_next().is_some() {}
        // Whatever else is said on this line, there is no id to answer to.
        let Ok(Request { id, said }) = serde_json::from_str(&line) else { continue };
        if said.op == "hello" {
            let reply = greet(said).map(|greeted| {
                access = Some(Arc::new(greeted));
                Reply::Welcome
            });
            answers.send(Answer::of(id, reply)).await.ok();
            continue;
        }
        let (access, answers) = (access.clone(), answers.clone());
        tasks.spawn(async move {
            let patience = said.deadline_ms.map_or(PATIENCE, Duration::from_millis);
            let reply = match access {
                None => Err(Failure::unsupported("say hello first")),
                Some(access) => time::timeout(patience, perform(&access, said))
                    .await
                    .unwrap_or_else(|_| Err(Failure::new(Kind::Timeout, "Amazon did not answer in time"))),
            };
            // With the output gone the process ends anyway.
            answers.send(Answer::of(id, reply)).await.ok();
        });
    }
    // What is cut off here is an order whose outcome is not known, and lw_proxy takes it for that.
    time::timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await.ok();
    Ok(())
}

fn greet(said: Said) -> Result<Access, Failure> {
    if said.version != VERSION {
        let told = format!("version {} of the protocol is not spoken here, only {VERSION}", said.version);
        return Err(Failure::unsupported(told));
    }
    protocol::read("options", said.options).map(Access::new)
}

async fn perform(access: &Access, said: Said) -> Result<Reply, Failure> {
    let Said { op, ids, kind, how, params, .. } = said;
    let params: Params = protocol::read("params", params)?;
    if op == "secret" {
        return secret::open(access, &ids, &params).await.map(Reply::Secrets);
    }
    let thing = Thing::of(&kind)?;
    let place = &*access.place(params.region(&ids)?).await?;
    let hibernate = how == "hibernate";
    if hibernate && op == "stop" && thing != Thing::Instances {
        return Err(Failure::unsupported(format!("a {kind} cannot hibernate")));
    }
    let which = params.address.unwrap_or(access.options.address);
    match (op.as_str(), thing) {
        ("start", Thing::Instances) => instance::start(place, &ids, &params).await?,
        ("start", Thing::Group) => group::start(place, &ids, &params).await?,
        ("start", Thing::Database) => database::order(place, &ids, database::Order::Start).await?,
        ("start", Thing::Service) => service::start(place, &ids, &params).await?,
        ("stop", Thing::Instances) => instance::stop(place, &ids, &params, hibernate).await?,
        ("stop", Thing::Group) => group::stop(place, &ids).await?,
        ("stop", Thing::Database) => database::order(place, &ids, database::Order::Stop).await?,
        ("stop", Thing::Service) => service::stop(place, &ids, &params).await?,
        ("status" | "describe", thing) => {
            let with_addresses = op == "describe" && params.host.is_empty();
            let mut targets = match thing {
                Thing::Instances => instance::look(place, &ids, &params, which).await?,
                Thing::Group => group::look(place, &ids, with_addresses.then_some(which)).await?,
                Thing::Database => database::look(place, &ids).await?,
                Thing::Service => {
                    service::look(place, &ids, &params, with_addresses.then_some(which)).await?
                }
            };
            if !params.host.is_empty() {
                for told in targets.values_mut().filter(|told| told.error.is_none()) {
                    told.addresses = vec![params.host.clone()];
                }
            }
            return Ok(Reply::Targets(targets));
        }
        (op, _) => return Err(Failure::unsupported(format!("there is no such operation as {op}"))),
    }
    Ok(Reply::Taken)
}
