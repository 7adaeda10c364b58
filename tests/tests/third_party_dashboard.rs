//! A person at the dashboard: signs in, presses a button, and sees what becomes of it without loading anything again.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tests::{
    autostop::{Autostop, TOKEN, Target, by_scripts, script},
    browser::Browser,
    peer,
};

/// Where the pictures are left for whoever wants to look at the pages.
fn pictures() -> PathBuf {
    let binary = tests::daemon::binary("lw_proxy");
    let folder = binary.parent().unwrap().parent().unwrap().join("autostop");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A machine that comes up when there is a file `go`, and not before.
fn slow(folder: &Path) -> Target {
    let service = peer::http_service(b"hello");
    script(folder, "start", "touch began");
    script(folder, "stop", "rm -f began");
    let status = "if [ -f began ] && [ -f go ]; then echo running; elif [ -f began ]; then echo starting; else echo stopped; fi";
    script(folder, "status", status);
    let rule =
        format!("idle_time = \"2s\"\nmin_online = \"1s\"\n[[tcp.forward_rule]]\nport = {}\n", service.port());
    Target { id: "slow".to_owned(), provider: by_scripts(folder), rule }
}

fn state(browser: &Browser) -> String {
    let told = browser.value("document.querySelector('#rule-m0')?.dataset.state ?? ''");
    told.as_str().unwrap().to_owned()
}

fn wait_for_state(browser: &Browser, word: &str) {
    browser.wait_until(&format!("document.querySelector('#rule-m0')?.dataset.state === {word:?}"));
}

#[test]
fn whoever_signs_in_and_presses_a_button_sees_what_becomes_of_it_on_the_same_page() {
    let folder = TempDir::new().unwrap();
    let autostop = Autostop::before(&[slow(folder.path())]);
    autostop.wait_for_state("m0", "down");
    let home = format!("http://127.0.0.1:{}/dashboard", autostop.status_port());
    let browser = Browser::start();
    browser.screen(1280, false);

    // Nobody gets in without the token.
    browser.open(&home);
    assert!(browser.value("document.title").as_str().unwrap().starts_with("Sign in"));
    browser.write("#token", "not the token");
    browser.click(".sign-in button");
    browser.wait_until("document.querySelector('#token')?.getAttribute('aria-invalid') === 'true'");
    browser.draw(&pictures().join("sign-in.png"));
    browser.write("#token", TOKEN);
    browser.click(".sign-in button");
    browser.wait_until("location.pathname === '/dashboard'");
    browser.wait_until("document.querySelector('#live')?.textContent === 'live'");
    assert_eq!(state(&browser), "down");
    browser.draw(&pictures().join("dashboard-down.png"));

    // A button of the list leads to the rule's page; from there on nothing is loaded any more.
    browser.click("#warmup-m0 button");
    browser.wait_until("location.pathname === '/dashboard/rules/m0'");
    browser.wait_until("location.search === ''");
    browser.value("(window.marked = true)");
    wait_for_state(&browser, "warming up");
    assert!(browser.text(".notice.good").contains("Warm up was asked for"));
    browser.draw(&pictures().join("rule-warming-up.png"));
    fs::write(folder.path().join("go"), "").unwrap();
    wait_for_state(&browser, "active");
    assert_eq!(browser.value("window.marked"), true, "the page was loaded again");
    assert_eq!(browser.text("#spoken"), "m0 is active");
    assert!(browser.count("#cooldown") == 1 && browser.text("#history").contains("active"));
    browser.draw(&pictures().join("rule-active.png"));

    // What is half typed stays while the page goes on, and the button in the opposite state is another one.
    browser.write("#minutes", "77");
    browser.click("#cooldown button");
    browser.wait_until("!window.marked");
    wait_for_state(&browser, "down");
    browser.value("(window.marked = true)");
    browser.write("#minutes", "77");

    // A client wakes it; the page in the browser tells.
    let mut client = peer::connect(autostop.port("m0"));
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    wait_for_state(&browser, "active");
    assert_eq!(browser.value("document.querySelector('#minutes').value"), "77");
    browser.wait_until("document.querySelector('#now').innerText.includes('127.0.0.1')");
    browser.screen(390, true);
    let overflows = browser.value("document.documentElement.scrollWidth > innerWidth");
    assert_eq!(overflows, false, "at 390");
    browser.draw(&pictures().join("rule-in-use-390.png"));

    // Paused, it stays as it is; going on, it catches up.
    browser.click("#pause");
    assert_eq!(browser.text("#live"), "paused");
    drop(client);
    autostop.wait_for_state("m0", "down");
    assert_eq!(state(&browser), "active");
    browser.click("#pause");
    wait_for_state(&browser, "down");
    assert_eq!(browser.value("window.marked"), true, "the page was loaded again");
    // The wrong token was answered with 401, and what Chromium would like of a form is no complaint.
    let is_known = |line: &String| line.contains("401") || line.contains("\"source\":\"recommendation\"");
    let said: Vec<_> = browser.console().into_iter().filter(|line| !is_known(line)).collect();
    assert!(said.is_empty(), "the console said {said:?}");
}

#[test]
fn a_page_that_is_left_open_says_when_it_is_signed_out_or_alone() {
    let folder = TempDir::new().unwrap();
    let mut autostop = Autostop::before(&[slow(folder.path())]);
    autostop.wait_for_state("m0", "down");
    let browser = Browser::start();
    browser.open(&format!("http://127.0.0.1:{}/dashboard", autostop.status_port()));
    browser.write("#token", TOKEN);
    browser.click(".sign-in button");
    browser.wait_until("document.querySelector('#live')?.textContent === 'live'");
    autostop.kill_control();
    browser.wait_until("document.querySelector('#live')?.textContent.startsWith('connection lost')");
    assert_eq!(state(&browser), "down", "what was known stays on the page");
    // Sessions end with the process that opened them.
    autostop.start_control();
    browser.wait_until("document.querySelector('#live')?.textContent.startsWith('signed out')");
}
