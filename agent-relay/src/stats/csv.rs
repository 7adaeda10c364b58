//! The columns of HAProxy's statistics, so that what reads those reads these.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::relay::Relay;

/// The columns up to `hrsp_other`, in HAProxy's order (management guide, section 9.1).
const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,\
    status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,\
    rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other";

struct Row {
    cells: Vec<String>,
}

impl Row {
    fn new(proxy: &str, server: &str, status: &str, kind: u8) -> Self {
        let mut row = Self { cells: vec![String::new(); COLUMNS.split(',').count()] };
        row.set("pxname", proxy).set("svname", server).set("status", status).set("type", kind).set("pid", 1);
        row
    }

    fn set(&mut self, column: &str, value: impl ToString) -> &mut Self {
        let at = COLUMNS.split(',').position(|known| known == column);
        if let Some(cell) = at.and_then(|at| self.cells.get_mut(at)) {
            *cell = value.to_string().replace([',', '\n', '"'], "_");
        }
        self
    }
}

/// The table: the front for agents, each upstream, and all upstreams together.
pub(super) fn table(relay: &Relay) -> String {
    let mut text = format!("# {COLUMNS},\n");
    let balance = relay.queue.balance();
    let mut front = Row::new("agents", "FRONTEND", "OPEN", 0);
    front.set("stot", balance.accepted).set("qcur", balance.queued).set("bin", 0).set("bout", 0);
    let mut back = Row::new("upstreams", "BACKEND", "DOWN", 1);
    let mut rows = vec![front];
    let mut sums = [0_u64; 11];
    for (sid, upstream) in (1..).zip(&relay.plan().upstreams) {
        let counts = &upstream.counts;
        let is_up = !upstream.breaker().is_open();
        let mut row = Row::new("upstreams", &upstream.spec.name, if is_up { "UP" } else { "DOWN" }, 2);
        if is_up {
            back.set("status", "UP");
        }
        let [a, b, c, d, e] = &counts.answers;
        let numbers: [(&str, &AtomicU64); 11] = [
            ("stot", &counts.requests),
            ("bin", &counts.bytes_out),
            ("econ", &counts.connect_errors),
            ("eresp", &counts.response_errors),
            ("wretr", &counts.retries),
            ("chkdown", &counts.downs),
            ("hrsp_1xx", a),
            ("hrsp_2xx", b),
            ("hrsp_3xx", c),
            ("hrsp_4xx", d),
            ("hrsp_5xx", e),
        ];
        for ((column, counter), sum) in numbers.iter().zip(&mut sums) {
            let value = counter.load(Ordering::Relaxed);
            *sum += value;
            row.set(column, value);
            back.set(column, *sum);
        }
        row.set("weight", upstream.spec.weight).set("act", 1).set("bck", 0).set("sid", sid).set("iid", 2);
        row.set("scur", 0).set("qcur", 0).set("bout", 0);
        row.set("chkfail", counts.checks_failed.load(Ordering::Relaxed));
        row.set("check_status", if is_up { "L7OK" } else { "L4CON" });
        rows.push(row);
    }
    rows.push(back);
    for row in rows {
        // Writing to a text cannot fail.
        writeln!(text, "{},", row.cells.join(",")).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_stand_where_haproxy_has_them() {
        let at = |column: &str| COLUMNS.split(',').position(|known| known == column).unwrap();
        assert_eq!(
            [at("pxname"), at("status"), at("type"), at("check_status"), at("hrsp_1xx")],
            [0, 17, 32, 36, 39]
        );
        assert_eq!(at("hrsp_other"), 44);
    }
}
