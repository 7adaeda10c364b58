//! A plug-in of lw_proxy, driven through its JSON lines by the test itself.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// A plug-in that runs until it is dropped.
pub struct Plugin {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
}

impl Plugin {
    /// Starts it and greets it.
    ///
    /// # Panics
    /// When it does not answer the greeting.
    pub fn start(mut command: Command, options: &Value) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the plug-in starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (heard, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| heard.send(line)));
        let input = child.stdin.take();
        let mut plugin = Self { child, input, lines, next_id: 0 };
        let hello = json!({ "id": 0, "op": "hello", "version": 1, "provider": "test", "options": options });
        plugin.write(&hello);
        let welcome = plugin.answer();
        assert_eq!(welcome["ok"], true, "{welcome}");
        plugin
    }

    /// Says a line.
    ///
    /// # Panics
    /// When it does not read any more.
    pub fn write(&mut self, told: &Value) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{told}").expect("it reads");
    }

    /// The next line that it says.
    ///
    /// # Panics
    /// When there is none, or it is no JSON.
    pub fn answer(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Asks something of one target, and returns the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&mut self, op: &str, ids: &[&str], kind: &str, params: &Value) -> Value {
        self.ask_within(20_000, op, ids, kind, params)
    }

    /// The same, with a deadline in milliseconds.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn ask_within(
        &mut self,
        deadline_ms: u64,
        op: &str,
        ids: &[&str],
        kind: &str,
        params: &Value,
    ) -> Value {
        self.next_id += 1;
        let (id, how) = (self.next_id, params["how"].as_str().unwrap_or("shutdown"));
        self.write(&json!({
            "id": id, "op": op, "ids": ids, "deadline_ms": deadline_ms, "kind": kind, "how": how, "params": params,
        }));
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// What it says of one id.
    ///
    /// # Panics
    /// When it does not.
    pub fn status(&mut self, id: &str, kind: &str, params: &Value) -> String {
        let answer = self.ask("status", &[id], kind, params);
        answer["targets"][id]["status"].as_str().unwrap_or_else(|| panic!("a status in {answer}")).to_owned()
    }

    /// Ends its input, and waits for its end.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn end(mut self) {
        drop(self.input.take());
        let child = &mut self.child;
        let ended = crate::wait::wait_for("the plug-in to end", || child.try_wait().expect("it is ours"));
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
