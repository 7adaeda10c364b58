//! The program by itself: it answers the greeting and what it does not know, and ends with its input.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use serde_json::Value;

#[test]
fn it_greets_refuses_what_it_does_not_know_and_ends_with_its_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_autostop-provider-aws"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |line: &str| -> Value {
        writeln!(lines, "{line}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    let greeting = ask(r#"{"id":0,"op":"hello","version":1,"options":{"region":"eu-west-1"}}"#);
    assert_eq!(
        (&greeting["id"], &greeting["ok"], &greeting["version"]),
        (&0.into(), &true.into(), &1.into())
    );
    let refused = ask(r#"{"id":7,"op":"dance"}"#);
    assert_eq!(refused["id"], 7);
    assert!(refused.get("error").is_some(), "{refused}");
    drop(lines);
    assert!(child.wait().unwrap().success());
}
