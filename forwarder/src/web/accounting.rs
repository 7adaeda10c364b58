//! Where every exchange is: the sheet, and that it adds up.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::figures::count;
use common::pages::render;
use common::visible;

use super::{Frame, Web};
use crate::store::Account;

/// One line of the sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) seen: String,
    pub(super) stored: String,
    pub(super) filtered: String,
    pub(super) dropped: String,
    /// By reason.
    pub(super) reasons: Vec<(&'static str, String)>,
    pub(super) in_flight: String,
    /// Whether both sides of the equation are the same.
    pub(super) adds_up: bool,
}

/// The line of an account.
pub(super) fn sheet(account: &Account) -> Sheet {
    let dropped = account.dropped.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let parts = [account.stored, account.filtered, dropped, account.in_flight];
    Sheet {
        seen: count(account.seen),
        stored: count(account.stored),
        filtered: count(account.filtered),
        dropped: count(dropped),
        reasons: account.dropped.iter().map(|(reason, number)| (*reason, count(*number))).collect(),
        in_flight: count(account.in_flight),
        adds_up: parts.iter().fold(0, |sum: u64, part| sum.saturating_add(*part)) == account.seen,
    }
}

fn sum<'a>(accounts: impl Iterator<Item = &'a Account>) -> Account {
    let mut total = Account::default();
    for account in accounts {
        let add = |sum: &mut u64, number: u64| *sum = sum.saturating_add(number);
        add(&mut total.seen, account.seen);
        add(&mut total.stored, account.stored);
        add(&mut total.filtered, account.filtered);
        add(&mut total.in_flight, account.in_flight);
        for (reason, number) in &account.dropped {
            add(total.dropped.entry(reason).or_default(), *number);
        }
    }
    total
}

#[derive(Template)]
#[template(path = "accounting.html")]
struct Accounting {
    frame: Frame,
    lines: Vec<(String, Sheet)>,
    total: Sheet,
}

/// `GET /accounting`
pub(super) async fn accounting(State(web): State<Web>) -> Response {
    let accounts = web.store.accounting();
    let line = |(id, account): (&String, &Account)| (visible::short(id.as_bytes(), 120), sheet(account));
    let template = Accounting {
        frame: web.frame("accounting"),
        lines: accounts.iter().map(line).collect(),
        total: sheet(&sum(accounts.values())),
    };
    render(StatusCode::OK, &template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_says_whether_it_adds_up() {
        let mut account = Account { seen: 1010, stored: 1000, in_flight: 3, ..Account::default() };
        account.dropped.insert("memory", 7);
        let line = sheet(&account);
        assert!(line.adds_up);
        assert_eq!((line.seen.as_str(), line.dropped.as_str()), ("1,010", "7"));
        assert_eq!(line.reasons, [("memory", "7".to_owned())]);
        let total = sum([&account, &account].into_iter());
        assert_eq!((total.seen, total.dropped.get("memory")), (2020, Some(&14)));
        account.stored = 999;
        assert!(!sheet(&account).adds_up);
    }
}
