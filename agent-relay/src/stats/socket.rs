//! The admin socket: answers the commands of HAProxy's stats socket that make sense here.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::{daemon::VERSION, drain::Drain};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    time,
};

use super::{
    board::{Board, UPSTREAMS, since},
    csv,
};
use crate::tcp::pool::Admin;

/// How long one may think about a command.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of commands.
const MOST_BYTES: u64 = 16 << 10;
const STATE_COLUMNS: &str = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
    bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
    srv_agent_port";
const HELP: &str = "The following commands are valid at this level:
  disable server <bk>/<srv>               : disable a server for maintenance
  enable server <bk>/<srv>                : enable a disabled server
  help                                    : this
  set server <bk>/<srv> state <state>     : change a server's state: ready, drain or maint
  show info                               : report information about the running process
  show servers state [<bk>]               : dump volatile server information
  show stat                               : report counters for each proxy and server
";

/// Listens on a socket at this path, in place of one that nobody listens on any more.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Ok(about) = fs::symlink_metadata(path) {
        let is_socket = std::os::unix::fs::FileTypeExt::is_socket(&about.file_type());
        if !is_socket || std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the drain starts.
pub(crate) async fn serve(board: Arc<Board>, listener: UnixListener, drain: Drain) {
    loop {
        let accepted = tokio::select! {
            () = drain.started() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (board, until) = (Arc::clone(&board), drain.clone());
        drain.spawn(async move {
            tokio::select! {
                answered = time::timeout(PATIENCE, answer(&board, stream)) => {
                    if !matches!(answered, Ok(Ok(()))) {
                        tracing::debug!("a command on the stats socket was not ended");
                    }
                }
                () = until.started() => {}
            }
        });
    }
}

async fn answer(board: &Board, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MOST_BYTES)).read_line(&mut line).await?;
    for command in line.trim().split(';').filter(|command| !command.trim().is_empty()) {
        let text = obey(board, command.trim());
        write.write_all(format!("{text}\n").as_bytes()).await?;
    }
    write.shutdown().await
}

/// What a command is answered.
fn obey(board: &Board, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["show", "stat", ..] => csv::table(board),
        ["show", "info", ..] => info(board),
        ["show", "servers", "state"] => states(board, None),
        ["show", "servers", "state", backend] => states(board, Some(backend)),
        ["set", "server", place, "state", state] => match Admin::parse(state) {
            Some(admin) => set(board, place, admin),
            None => "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n".to_owned(),
        },
        ["disable", "server", place] => set(board, place, Admin::Maint),
        ["enable", "server", place] => set(board, place, Admin::Ready),
        ["help", ..] => HELP.to_owned(),
        _ => format!("Unknown command. {HELP}"),
    }
}

fn set(board: &Board, place: &str, admin: Admin) -> String {
    let Some((backend, server)) = place.split_once('/') else {
        return "Require 'backend/server'.\n".to_owned();
    };
    if !board.has_backend(backend) {
        return "No such backend.\n".to_owned();
    }
    if !board.administer(backend, server, admin) {
        return "No such server.\n".to_owned();
    }
    tracing::info!(backend, server, state = ?admin, "a server was set by hand");
    String::new()
}

fn info(board: &Board) -> String {
    let uptime = board.uptime().as_secs();
    let (taken, balance) = (&board.taken, board.relay.queue.balance());
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let tcp: u64 = board.fronts.iter().map(|front| load(&front.counts.open)).sum();
    let tcp_all: u64 = board.fronts.iter().map(|front| load(&front.counts.connections)).sum();
    let (days, hours, minutes, seconds) =
        (uptime / 86_400, uptime / 3600 % 24, uptime / 60 % 60, uptime % 60);
    let mut text = String::new();
    let told: [(&str, String); 15] = [
        ("Name", "agent-relay".to_owned()),
        ("Version", VERSION.trim_start_matches('v').to_owned()),
        ("Nbproc", "1".to_owned()),
        ("Process_num", "1".to_owned()),
        ("Pid", process::id().to_string()),
        ("Uptime", format!("{days}d {hours}h{minutes:02}m{seconds:02}s")),
        ("Uptime_sec", uptime.to_string()),
        ("Maxconn", board.most_connections.to_string()),
        ("CurrConns", (load(&taken.open) + tcp).to_string()),
        ("CumConns", (load(&taken.connections) + tcp_all).to_string()),
        ("CumReq", (balance.accepted + load(&taken.live)).to_string()),
        ("Queued", balance.queued.to_string()),
        ("Queued_bytes", board.relay.queue.queued_bytes().to_string()),
        ("Dead_lettered", balance.dead_lettered.to_string()),
        ("Outage_budget_sec", board.outage().seconds.map_or("-1".to_owned(), |seconds| seconds.to_string())),
    ];
    for (name, value) in told {
        // Writing to a text cannot fail, here and below.
        writeln!(text, "{name}: {value}").ok();
    }
    text
}

fn states(board: &Board, only: Option<&str>) -> String {
    let mut text = format!("1\n# {STATE_COLUMNS}\n");
    let mut put = |id: usize, backend: &str, number: usize, server: &str, place: Place<'_>| {
        if only.is_none_or(|only| only == backend) {
            let Place { host, port, is_up, admin, weight, since_s, is_tls } = place;
            // As HAProxy has them: 2 for running, 0 for stopped; 1 for forced maintenance, 8 for forced drain.
            let (up, admin) = (if is_up { 2 } else { 0 }, admin_bits(admin));
            let (address, name) =
                if host.parse::<std::net::IpAddr>().is_ok() { (host, "-") } else { ("-", host) };
            writeln!(
                text,
                "{id} {backend} {number} {server} {address} {up} {admin} {weight} {weight} {since_s} 0 0 0 0 0 0 0 {name} {port} - {} 0 - - 0",
                u8::from(is_tls)
            )
            .ok();
        }
    };
    for (number, upstream) in (1..).zip(&board.relay.plan().upstreams) {
        let base = &upstream.spec.base;
        let since_s = since(upstream.counts.changed_ms.load(Ordering::Relaxed), board.uptime());
        let is_up = !upstream.breaker().is_open();
        let (admin, weight) = (upstream.admin(), upstream.spec.weight);
        let place =
            Place { host: &base.host, port: base.port, is_up, admin, weight, since_s, is_tls: base.tls };
        put(3, UPSTREAMS, number, &upstream.spec.name, place);
    }
    for (index, front) in board.fronts.iter().enumerate() {
        let back = front.back();
        let members = back.members().clone();
        let servers = back.spec.servers.iter().zip(&members).zip(&back.counts);
        for (number, ((server, member), counts)) in (1..).zip(servers) {
            let since_s = since(counts.changed_ms.load(Ordering::Relaxed), board.uptime());
            let (is_up, admin, weight) = (member.is_up, member.admin, member.weight);
            let place =
                Place { host: &server.host, port: server.port, is_up, admin, weight, since_s, is_tls: false };
            put(5 + index * 2, &back.spec.backend, number, &server.name, place);
        }
    }
    text
}

struct Place<'a> {
    host: &'a str,
    port: u16,
    is_up: bool,
    admin: Admin,
    weight: u32,
    since_s: u64,
    is_tls: bool,
}

fn admin_bits(admin: Admin) -> u8 {
    match admin {
        Admin::Ready => 0,
        Admin::Maint => 1,
        Admin::Drain => 8,
    }
}
