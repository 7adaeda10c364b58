//! Asks a daemon of ours over HTTP, and gives up on one that does not answer.

use ureq::Agent;

use crate::wait::PATIENCE;

fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(PATIENCE)).build().into()
}

/// What is answered at this port of loopback and this path.
///
/// # Panics
/// When it is not answered, in time, with a success, as text.
pub fn get(port: u16, path: &str) -> String {
    let mut answer = agent().get(format!("http://127.0.0.1:{port}{path}")).call().expect("an answer");
    answer.body_mut().read_to_string().expect("text")
}

/// The same, or nothing when the connection is cut before there is an answer.
pub fn try_get(port: u16, path: &str) -> Option<String> {
    agent().get(format!("http://127.0.0.1:{port}{path}")).call().ok()?.body_mut().read_to_string().ok()
}

/// What is answered at this port of loopback and this path to who brings this token.
///
/// # Panics
/// When it is not answered, in time, with a success, as text.
pub fn get_with_token(port: u16, path: &str, token: &str) -> String {
    let request = agent().get(format!("http://127.0.0.1:{port}{path}"));
    let mut answer = request.header("Authorization", format!("Bearer {token}")).call().expect("an answer");
    answer.body_mut().read_to_string().expect("text")
}

/// What is answered to this body.
///
/// # Panics
/// When it is not answered, in time, with a success, as text.
pub fn post(port: u16, path: &str, body: &str) -> String {
    post_in_time(port, path, body).expect("an answer in time")
}

/// As [`post`]; `None` when who answers says that it took too long (504).
///
/// # Panics
/// As [`post`], with anything else.
pub fn post_in_time(port: u16, path: &str, body: &str) -> Option<String> {
    match agent().post(format!("http://127.0.0.1:{port}{path}")).send(body) {
        Err(ureq::Error::StatusCode(504)) => None,
        answer => Some(answer.expect("an answer").body_mut().read_to_string().expect("text")),
    }
}
