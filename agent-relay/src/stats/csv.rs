//! The columns of HAProxy's statistics, so that what reads those reads these.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use super::board::{Board, UPSTREAMS, since, status};
use crate::tcp::{front, pool::Admin};

/// The columns up to `ttime`, in HAProxy's order (management guide, section 9.1).
const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,\
    status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,\
    rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\
    hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,\
    last_agt,qtime,ctime,rtime,ttime";

struct Row {
    cells: Vec<String>,
}

impl Row {
    fn new(proxy: &str, server: &str, status: &str, kind: u8, iid: usize) -> Self {
        let mut row = Self { cells: vec![String::new(); COLUMNS.split(',').count()] };
        row.set("pxname", proxy).set("svname", server).set("status", status).set("type", kind);
        row.set("pid", 1).set("iid", iid);
        row
    }

    fn set(&mut self, column: &str, value: impl ToString) -> &mut Self {
        let at = COLUMNS.split(',').position(|known| known == column);
        if let Some(cell) = at.and_then(|at| self.cells.get_mut(at)) {
            *cell = value.to_string().replace([',', '\n', '"'], "_");
        }
        self
    }

    fn count(&mut self, column: &str, counter: &AtomicU64) -> &mut Self {
        self.set(column, counter.load(Ordering::Relaxed))
    }

    fn number(&self, column: &str) -> u64 {
        let at = COLUMNS.split(',').position(|known| known == column);
        at.and_then(|at| self.cells.get(at)?.parse().ok()).unwrap_or(0)
    }
}

/// What a backend has of all its servers together.
const SUMS: [&str; 17] = [
    "scur", "stot", "bin", "bout", "econ", "eresp", "wretr", "wredis", "chkdown", "hrsp_1xx", "hrsp_2xx",
    "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "req_tot", "act", "lbtot",
];

fn backend(name: &str, iid: usize, servers: &[Row], queued: u64) -> Row {
    let is_up = servers.iter().any(|row| row.cells.iter().any(|cell| cell == "UP"));
    let mut back = Row::new(name, "BACKEND", if is_up { "UP" } else { "DOWN" }, 1, iid);
    let serves = |row: &&Row| row.cells.iter().any(|cell| cell == "UP");
    let weight: u64 = servers.iter().filter(serves).map(|row| row.number("weight")).sum();
    for column in SUMS {
        back.set(column, servers.iter().map(|row| row.number(column)).sum::<u64>());
    }
    back.set("qcur", queued).set("sid", 0).set("bck", 0).set("weight", weight);
    back
}

/// The table: the front for agents, each upstream and all of them, and the same for each front in TCP mode.
pub(super) fn table(board: &Board) -> String {
    let mut rows = http(board);
    for (index, front) in board.fronts.iter().enumerate() {
        rows.extend(tcp(board, front, 4 + index * 2));
    }
    let mut text = format!("# {COLUMNS},\n");
    for row in rows {
        // Writing to a text cannot fail.
        writeln!(text, "{},", row.cells.join(",")).ok();
    }
    text
}

fn http(board: &Board) -> Vec<Row> {
    let (taken, balance) = (&board.taken, board.relay.queue.balance());
    let mut front = Row::new("agents", "FRONTEND", "OPEN", 0, 2);
    front.count("scur", &taken.open).count("smax", &taken.most_open).count("stot", &taken.connections);
    front.set("slim", board.most_connections).count("bin", &taken.bytes_in).set("bout", 0).set("sid", 0);
    front.count("dreq", &taken.denied).count("ereq", &taken.bad);
    front.set("req_tot", balance.accepted + taken.live.load(Ordering::Relaxed));
    front.set("hrsp_2xx", balance.accepted);
    front.set("hrsp_5xx", taken.refused.iter().map(|reason| reason.load(Ordering::Relaxed)).sum::<u64>());
    let mut servers = Vec::new();
    for (sid, upstream) in (1..).zip(&board.relay.plan().upstreams) {
        let counts = &upstream.counts;
        let mut row = Row::new(UPSTREAMS, &upstream.spec.name, status(upstream), 2, 3);
        row.count("scur", &counts.busy).count("smax", &counts.most_busy).count("stot", &counts.requests);
        row.count("req_tot", &counts.requests).count("lbtot", &counts.requests);
        row.count("bin", &counts.bytes_out).set("bout", 0).count("econ", &counts.connect_errors);
        row.count("eresp", &counts.response_errors).count("wretr", &counts.retries).set("wredis", 0);
        row.count("chkfail", &counts.checks_failed).count("chkdown", &counts.downs);
        let columns = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];
        for (column, counter) in columns.iter().zip(&counts.answers) {
            row.count(column, counter);
        }
        let serves = upstream.admin() == Admin::Ready;
        row.set("weight", upstream.spec.weight).set("act", u8::from(serves)).set("bck", 0).set("sid", sid);
        row.set("lastchg", since(counts.changed_ms.load(Ordering::Relaxed), board.uptime()));
        row.set("qcur", 0).set("slim", crate::upstream::KEPT);
        if let Some(check) = upstream.check() {
            row.set("check_status", check.status).set("check_duration", check.took.as_millis());
            if check.code > 0 {
                row.set("check_code", check.code);
            }
        }
        servers.push(row);
    }
    let back = backend(UPSTREAMS, 3, &servers, balance.queued);
    [vec![front], servers, vec![back]].into_iter().flatten().collect()
}

fn tcp(board: &Board, front: &front::Front, iid: usize) -> Vec<Row> {
    let back = front.back();
    let counts = &front.counts;
    let mut row = Row::new(&back.spec.name, "FRONTEND", "OPEN", 0, iid);
    fill(&mut row, counts);
    row.set("slim", back.spec.most_connections).set("sid", 0);
    let mut servers = Vec::new();
    let members = back.members().clone();
    for (sid, ((server, member), counts)) in
        (1..).zip(back.spec.servers.iter().zip(&members).zip(&back.counts))
    {
        let mut row = Row::new(&back.spec.backend, &server.name, member.status(), 2, iid + 1);
        fill(&mut row, counts);
        row.count("econ", &counts.connect_errors).count("eresp", &counts.response_errors);
        row.count("wretr", &counts.retries).count("wredis", &counts.redispatches);
        row.count("chkfail", &counts.checks_failed).count("chkdown", &counts.downs);
        row.count("lbtot", &counts.connections);
        let serves = member.admin == Admin::Ready;
        row.set("weight", member.weight).set("act", u8::from(serves)).set("bck", 0).set("sid", sid);
        row.set("lastchg", since(counts.changed_ms.load(Ordering::Relaxed), board.uptime()));
        if server.check.is_some() {
            row.set("check_status", if member.is_up { "L4OK" } else { "L4CON" });
        }
        servers.push(row);
    }
    let back = backend(&back.spec.backend, iid + 1, &servers, 0);
    [vec![row], servers, vec![back]].into_iter().flatten().collect()
}

fn fill(row: &mut Row, counts: &front::Counts) {
    row.count("scur", &counts.open).count("smax", &counts.most_open).count("stot", &counts.connections);
    row.count("bin", &counts.bytes_in).count("bout", &counts.bytes_out).set("qcur", 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_stand_where_haproxy_has_them() {
        let at = |column: &str| COLUMNS.split(',').position(|known| known == column).unwrap();
        let known =
            ["pxname", "status", "type", "check_status", "hrsp_1xx", "hrsp_other", "last_chk", "ttime"];
        assert_eq!(known.map(at), [0, 17, 32, 36, 39, 44, 56, 61]);
    }

    #[test]
    fn a_backend_is_up_while_one_of_its_servers_is() {
        let server = |status| {
            let mut row = Row::new("b", "s", status, 2, 3);
            row.set("stot", 2).set("bin", "1,5\n").set("weight", 7);
            row
        };
        assert_eq!(server("UP").cells[8], "1_5_", "nothing breaks out of its cell");
        let back = backend("b", 3, &[server("DOWN"), server("UP")], 7);
        assert_eq!((back.cells[17].as_str(), back.number("stot"), back.number("qcur")), ("UP", 4, 7));
        assert_eq!(back.number("weight"), 7, "of those that serve");
        assert_eq!(backend("b", 3, &[server("DOWN")], 0).cells[17], "DOWN");
    }
}
