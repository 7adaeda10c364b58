//! A person opens a site that sleeps: a page says how long it takes, and turns into the site by itself.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tests::{
    autostop::{Autostop, Target, by_scripts, script},
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

/// A site that takes as long to wake as its `delay` file says.
fn site(folder: &Path) -> Target {
    let origin =
        peer::http_service_of("text/html", b"<!doctype html><title>The site</title><h1>Welcome</h1>");
    script(folder, "start", "(sleep $(cat delay); touch up) >/dev/null 2>&1 </dev/null &\ntouch began");
    script(folder, "stop", "rm -f up began");
    let status =
        "if [ -f up ]; then echo running; elif [ -f began ]; then echo starting; else echo stopped; fi";
    script(folder, "status", status);
    fs::write(folder.join("delay"), "4").unwrap();
    let rule = format!(
        "idle_time = \"2s\"\nmin_online = \"1s\"\ncustom_domains = [\"localhost\"]\n[[http.routing]]\n\
         source_protocol = \"http\"\nsource_port = 80\ntarget_protocol = \"http\"\ntarget_port = {0}\naction = \"forward\"\n\
         [[tcp.forward_rule]]\nport = {0}\n",
        origin.port()
    );
    Target { id: "site".to_owned(), provider: by_scripts(folder), rule }
}

#[test]
fn a_browser_sees_the_progress_and_then_the_site() {
    let folder = TempDir::new().unwrap();
    let autostop = Autostop::before(&[site(folder.path())]);
    autostop.wait_for_state("m0", "down");
    let url = format!("http://localhost:{}/", autostop.http_port());
    let browser = Browser::start();
    for (width, is_dark) in [(1280, false), (390, true)] {
        browser.screen(width, is_dark);
        browser.open(&url);
        assert_eq!(browser.value("document.title"), "m0 is starting");
        assert!(browser.text("#told").contains("so far"), "{}", browser.text("#told"));
        let overflows = browser.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(overflows, false, "at {width}");
        browser.draw(&pictures().join(format!("progress-{width}.png")));
        // A mark that a reload would take away: the page stays until the site is there.
        browser.value("(window.marked = true)");
        browser.wait_until("!window.marked");
        browser.wait_until("document.title === 'The site'");
        autostop.wait_for_state("m0", "down");
    }
    // By then it knows how long it takes.
    browser.open(&url);
    assert!(browser.text("#told").contains("it takes about"), "{}", browser.text("#told"));
    browser.draw(&pictures().join("progress-known.png"));
    browser.wait_until("document.title === 'The site'");
    let said: Vec<_> = browser.console().into_iter().filter(|line| !line.contains("503")).collect();
    assert!(said.is_empty(), "the console said {said:?}");
}
